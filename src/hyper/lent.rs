//! [`Lent`]: a socket that can be taken from the server that reads it.

use std::{
    any::{Any, TypeId},
    fmt,
    io::{self, IoSlice},
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
};

use ::tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connection that a handler can take from its server: what hyper reads and writes instead of the
/// socket. After that it reads as closed, and what is written to it is dropped.
///
/// `S` is a `tokio::net::TcpStream` or `UnixStream`. Any other type works too but cannot be taken, so
/// its streams are answered through hyper. TLS belongs inside (`Lent<TlsStream<_>>`): a handler would
/// take the socket from under it. Costs an allocation per connection, and a lock without
/// contention per read and write.
///
/// ```
/// # use {starwheel::hyper::Lent, tokio::net::TcpStream};
/// async fn accepted(stream: TcpStream) -> Lent<TcpStream> {
///     Lent::new(stream)
/// }
/// ```
pub struct Lent<S> {
    slot: Arc<Slot<S>>,
}

pub(super) struct Slot<S>(Mutex<State<S>>);

struct State<S> {
    /// `None` once it was taken.
    stream: Option<S>,
    /// The server has written all of its responses. It flushes only then, and may keep bytes for
    /// later without trying to write them.
    is_flushed: bool,
}

/// A socket without tokio.
pub(super) enum Socket {
    Tcp(std::net::TcpStream),
    Unix(StdUnixStream),
}

/// Lends the socket of one connection; hides its type.
pub(super) trait Lender: Send + Sync {
    /// The server gets a response to write.
    fn response_begins(&self);

    /// The socket, unless it cannot be taken, or was, or the server may still have bytes for it. An
    /// error has closed it.
    fn take(&self) -> Option<io::Result<Socket>>;

    /// Takes back what could not be passed on. Only in the runtime that it was taken from.
    fn give_back(&self, socket: Socket) -> io::Result<()>;
}

impl<S> Lent<S> {
    /// For a connection that has just been accepted.
    #[must_use]
    pub fn new(stream: S) -> Self {
        let state = State { stream: Some(stream), is_flushed: true };
        Self { slot: Arc::new(Slot(Mutex::new(state))) }
    }
}

impl<S: Send + 'static> Lent<S> {
    pub(super) fn lender(&self) -> Weak<dyn Lender> {
        let slot: Weak<Slot<S>> = Arc::downgrade(&self.slot);
        slot
    }

    pub(super) fn is_unix() -> bool {
        TypeId::of::<S>() == TypeId::of::<UnixStream>()
    }
}

impl<S> Slot<S> {
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Send + 'static> Lender for Slot<S> {
    fn response_begins(&self) {
        self.lock().is_flushed = false;
    }

    fn take(&self) -> Option<io::Result<Socket>> {
        let mut state = self.lock();
        if !state.is_flushed {
            return None;
        }
        let stream: &mut dyn Any = &mut state.stream;
        if let Some(tcp) = stream.downcast_mut::<Option<TcpStream>>() {
            return tcp.take().map(|tcp| tcp.into_std().map(Socket::Tcp));
        }
        let unix = stream.downcast_mut::<Option<UnixStream>>()?;
        unix.take().map(|unix| unix.into_std().map(Socket::Unix))
    }

    fn give_back(&self, socket: Socket) -> io::Result<()> {
        let mut state = self.lock();
        let stream: &mut dyn Any = &mut state.stream;
        match socket {
            Socket::Tcp(tcp) => {
                if let Some(stream) = stream.downcast_mut() {
                    *stream = Some(TcpStream::from_std(tcp)?);
                }
            }
            Socket::Unix(unix) => {
                if let Some(stream) = stream.downcast_mut() {
                    *stream = Some(UnixStream::from_std(unix)?);
                }
            }
        }
        Ok(())
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> Self {
        match socket {
            Socket::Tcp(stream) => stream.into(),
            Socket::Unix(stream) => stream.into(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lent<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.slot.lock().stream {
            Some(stream) => Pin::new(stream).poll_read(cx, buffer),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lent<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(bytes.len(), |stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        self.write(all, |stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.slot.lock().stream.as_ref().is_none_or(S::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.slot.lock();
        let Some(stream) = &mut state.stream else { return Poll::Ready(Ok(())) };
        let result = Pin::new(stream).poll_flush(cx);
        state.is_flushed |= matches!(result, Poll::Ready(Ok(())));
        result
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.act(|stream| stream.poll_shutdown(cx))
    }
}

impl<S: Unpin> Lent<S> {
    fn write(
        &self,
        bytes: usize,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut state = self.slot.lock();
        let Some(stream) = &mut state.stream else { return Poll::Ready(Ok(bytes)) };
        let result = write(Pin::new(stream));
        state.is_flushed = false;
        result
    }

    fn act(&self, act: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        match &mut self.slot.lock().stream {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl<S> fmt::Debug for Lent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("is_taken", &self.slot.lock().stream.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use ::tokio::{
        io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
        runtime::Builder,
    };

    use super::*;

    /// Bytes of an earlier response would be lost, and the client would take the head of the stream
    /// for a part of it.
    #[test]
    fn a_socket_whose_server_has_unsent_bytes_is_not_taken() {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (mut client, stream) = UnixStream::pair().unwrap();
            let mut lent = Lent::new(stream);
            let mut sent = 0;
            let block = [b'x'; 4096];
            poll_fn(|cx| {
                while let Poll::Ready(written) = Pin::new(&mut lent).poll_write(cx, &block) {
                    sent += written.unwrap();
                }
                Poll::Ready(())
            })
            .await;
            let lender = lent.lender().upgrade().unwrap();
            assert!(lender.take().is_none());
            client.read_exact(&mut vec![0; sent]).await.unwrap();
            lent.write_all(b"the rest").await.unwrap();
            assert!(lender.take().is_none(), "there may be more");
            lent.flush().await.unwrap();
            assert!(lender.take().is_some());
            assert!(lender.take().is_none(), "it was taken");
            assert_eq!(lent.read(&mut [0; 8]).await.unwrap(), 0, "it reads as closed");
            lent.write_all(b"dropped").await.unwrap();
        });
    }
}
