//! Nothing: the server is `main.cpp`.
