//! The user's wish to stop. A step that acts is not torn apart: the wish is heard between actions and while waiting.

use tokio::sync::watch;

/// Hears the wish.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Utters the wish: held by whoever handles signals.
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<bool>);

impl StopSwitch {
    /// A switch and the ear that belongs to it.
    pub fn new() -> (Self, Stop) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Stop(receiver))
    }

    /// Asks the run to stop. Doing it twice is doing it once.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// True once the wish was uttered.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the wish is uttered; never, when the switch is gone without a word.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_wish_is_heard_also_when_it_came_first() {
        let (switch, stop) = StopSwitch::new();
        assert!(!stop.is_requested());
        switch.stop();
        switch.stop();
        stop.requested().await;
        assert!(stop.is_requested());
    }
}
