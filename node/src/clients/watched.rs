//! A transport that lets go of something once the other side has gone.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Sink, Stream, StreamExt, sink::SinkExt};

/// Drops `alive` when nothing more can be received: what is still under way for the other side may go on for long after.
pub(super) struct Watched<T, A> {
    pub(super) transport: T,
    pub(super) alive: Option<A>,
}

impl<T, A, Item, Error> Stream for Watched<T, A>
where
    T: Stream<Item = Result<Item, Error>> + Unpin,
    A: Unpin,
{
    type Item = Result<Item, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let received = self.transport.poll_next_unpin(context);
        if matches!(received, Poll::Ready(None | Some(Err(_)))) {
            self.alive = None;
        }
        received
    }
}

impl<T, A, Item> Sink<Item> for Watched<T, A>
where
    T: Sink<Item> + Unpin,
    A: Unpin,
{
    type Error = T::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.transport.poll_ready_unpin(context)
    }

    fn start_send(mut self: Pin<&mut Self>, item: Item) -> Result<(), Self::Error> {
        self.transport.start_send_unpin(item)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.transport.poll_flush_unpin(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.transport.poll_close_unpin(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use super::*;

    #[tokio::test]
    async fn what_is_held_is_let_go_at_the_end() {
        let alive = Arc::new(());
        let held = Arc::downgrade(&alive);
        let transport = futures::stream::iter([Ok::<_, Infallible>(1)]);
        let mut watched = Watched { transport, alive: Some(alive) };
        assert_eq!((watched.next().await, held.strong_count()), (Some(Ok(1)), 1));
        assert_eq!((watched.next().await, held.strong_count()), (None, 0));
    }
}
