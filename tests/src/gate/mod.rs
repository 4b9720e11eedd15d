//! A way to the API server that a test can close: it holds one chosen request until the program that sent it is dead.
//!
//! A moment that lasts milliseconds cannot be looked for. Here it is made to last: the program waits for an answer that does not
//! come, and is killed while it does.

mod relay;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::testbed::{Error, MARK, Testbed, wait_every};

/// How long kubectl may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// A request, as far as it is chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// GET, PATCH …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// True for the start of a stream: a command in a container.
    pub is_stream: bool,
}

/// What is held of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// All of it: the server never sees it.
    Request,
    /// Of a stream: the command starts, and gets only a part of its input.
    Input,
    /// The answer: the server has acted, and its client does not learn that. An answer that is no success is not held, and the
    /// next request is tried. Of a stream it is all that the command says, and how it ended.
    Answer,
}

/// What is to be held.
struct Trap {
    how: Hold,
    which: Box<dyn Fn(&Asked) -> bool + Send>,
    /// The [`State::turn`] that it was set in.
    turn: u64,
}

#[derive(Default)]
struct State {
    trap: Option<Trap>,
    /// What came of the held request.
    held: Option<String>,
    /// Changes when the gate opens: what is held then is broken off.
    turn: u64,
}

/// What connections and the test share.
struct Shared {
    /// Where the API server is reached.
    upstream: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trap, if this is the request it waits for. No other one is caught then.
    fn caught(&self, asked: &Asked) -> Option<Trap> {
        let mut state = self.state();
        state.trap.take_if(|trap| (trap.which)(asked))
    }

    /// Waits for the next request after all.
    fn set_again(&self, trap: Trap) {
        let mut state = self.state();
        if state.turn == trap.turn {
            state.trap = Some(trap);
        }
    }

    /// Says what came of the request, and waits until the gate opens.
    fn keep(&self, trap: &Trap, what: String) {
        let mut state = self.state();
        if state.turn == trap.turn {
            state.held = Some(what);
        }
        while state.turn == trap.turn {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// kubectl proxy: it has the testbed's certificates. It ends when this is dropped.
#[derive(Debug)]
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The gate. It lets everything pass unless it is told otherwise, and ends when it is dropped.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    _proxy: Option<Proxy>,
}

impl Gate {
    /// A gate before the API server of this testbed.
    pub fn to(testbed: &Testbed) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(|error| odd(&error))?;
        let socket = folder.path().join("api");
        let proxy = Command::new(testbed.kubebox())
            .arg("kubectl")
            .arg(format!("--kubeconfig={}", testbed.kubeconfig().display()))
            .args(["proxy", "--disable-filter=true"])
            .arg(format!("--unix-socket={}", socket.display()))
            // Of a test that is killed, it ends with the testbed.
            .env(MARK, testbed.layout().run())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Proxy)
            .map_err(|error| odd(&error))?;
        wait_every("kubectl proxy listens", LIMIT, Duration::from_millis(20), || {
            UnixStream::connect(&socket).map(drop).map_err(|error| error.to_string())
        })?;
        Self::before(socket, folder, Some(proxy))
    }

    fn before(
        upstream: PathBuf,
        folder: tempfile::TempDir,
        proxy: Option<Proxy>,
    ) -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| odd(&error))?;
        let address = listener.local_addr().map_err(|error| odd(&error))?;
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "gate",
            "clusters": [{ "name": "gate", "cluster": { "server": format!("http://{address}") } }],
            "contexts": [{ "name": "gate", "context": { "cluster": "gate", "user": "gate" } }],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string())
            .map_err(|error| odd(&error))?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let of_all = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_all.ended.load(Ordering::SeqCst) {
                    break;
                }
                let shared = of_all.clone();
                // A connection that breaks is its client's business.
                thread::spawn(move || drop(relay::serve(client, &shared)));
            }
        });
        Ok(Self { address, shared, folder, _proxy: proxy })
    }

    /// A kubeconfig that goes through the gate.
    pub fn kubeconfig(&self) -> PathBuf {
        Path::join(self.folder.path(), "kubeconfig")
    }

    /// Holds the first request that is chosen, and only that.
    pub fn hold(&self, how: Hold, which: impl Fn(&Asked) -> bool + Send + 'static) {
        self.open();
        let mut state = self.shared.state();
        state.trap = Some(Trap { how, which: Box::new(which), turn: state.turn });
    }

    /// What came of the held request: nothing, or the beginning of the answer that is held. None while nothing is held.
    pub fn held(&self) -> Option<String> {
        self.shared.state().held.clone()
    }

    /// Breaks off what is held, and lets everything else pass.
    pub fn open(&self) {
        let mut state = self.shared.state();
        *state = State { turn: state.turn + 1, ..State::default() };
        self.shared.changed.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn odd(error: &std::io::Error) -> Error {
    Error::Odd { what: "the gate before the API server".to_owned(), why: error.to_string() }
}
