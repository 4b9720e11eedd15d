//! The user's, or the system's, wish that a run end: ^C, and SIGTERM where there are signals.

/// Returns when the wish is uttered. From the first call on neither ends the process by itself any more.
pub async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        // Nothing can be heard here, so nothing is ever said.
        std::future::pending::<()>().await;
    }
}
