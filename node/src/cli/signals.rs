//! The signals that ask a program to stop.

use super::exit::{Exit, Failure};

/// Takes the signals from the moment it was made; until then they end the program.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Within a tokio runtime.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            #[cfg(unix)]
            terminate: {
                use tokio::signal::unix::{SignalKind, signal};
                signal(SignalKind::terminate())
                    .map_err(|error| Failure::from_error(Exit::Failed, &error))?
            },
        })
    }

    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        let terminate = self.terminate.recv();
        #[cfg(not(unix))]
        let terminate = std::future::pending::<Option<()>>();
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate => {}
        }
    }
}
