module starwheel-peer

go 1.19
