//! A https server on loopback that answers as it is told, breaks off where it is told, and remembers what was asked.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Path with query.
    pub path: String,
    /// Headers by lower-case name.
    pub headers: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers; `content-length` is added.
    pub headers: Vec<(&'static str, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Bytes of the body after which something happens.
    pub cut: Option<(usize, Cut)>,
}

/// What happens in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The connection ends.
    Close,
    /// Nothing comes any more, until the client leaves or the server ends.
    Hang,
}

impl Reply {
    /// This status with this body.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, cut after so many bytes.
    #[must_use]
    pub fn cut(mut self, after: usize, how: Cut) -> Self {
        self.cut = Some((after, how));
        self
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server. It ends when it is dropped.
pub struct HttpsServer {
    address: SocketAddr,
    authority: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    asked: Mutex<Vec<Asked>>,
    changed: Condvar,
    ended: AtomicBool,
}

/// Time that a client may take for its request, and the server to notice its end.
const PATIENCE: Duration = Duration::from_secs(20);

impl HttpsServer {
    /// Starts it with a certificate of its own for 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had, or no certificate be made; the text says which.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Self, String> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])
            .map_err(|error| format!("cannot make a certificate: {error}"))?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|it| {
                it.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
            })
            .map_err(|error| format!("cannot set up TLS: {error}"))?;
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no port: {error}"))?;
        let address = listener.local_addr().map_err(|error| format!("no port: {error}"))?;
        let state = Arc::new(State::default());
        let (config, answer): (_, Arc<Answer>) = (Arc::new(config), Arc::new(answer));
        let seen = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if seen.ended.load(Ordering::SeqCst) {
                    break;
                }
                let (config, answer, seen) = (config.clone(), answer.clone(), seen.clone());
                thread::spawn(move || drop(serve(stream, config, &*answer, &seen)));
            }
        });
        Ok(Self { address, authority: made.cert.pem(), state })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:<port>`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Its certificate as PEM, for clients to trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Their paths.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// Waits until a path was asked for; false when that did not happen in time.
    pub fn wait_for(&self, path: &str, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut asked = self.state.asked.lock().unwrap_or_else(PoisonError::into_inner);
        while !asked.iter().any(|it| it.path == path) {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            let waited = self.state.changed.wait_timeout(asked, left);
            asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &Answer,
    state: &State,
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let asked = read(&mut stream)?;
    let reply = answer(&asked);
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", reply.body.len()));
    let (end, cut) = reply.cut.map_or((reply.body.len(), None), |(end, cut)| (end, Some(cut)));
    let out = stream.get_mut();
    out.write_all(head.as_bytes())?;
    out.write_all(reply.body.get(..end).unwrap_or(&reply.body))?;
    out.flush()?;
    state.changed.notify_all();
    if cut == Some(Cut::Hang) {
        // Ends when the client leaves.
        let _left = out.read(&mut [0]);
    }
    if cut.is_none() {
        out.conn.send_close_notify();
        out.flush()?;
    }
    Ok(())
}

fn read(stream: &mut impl BufRead) -> io::Result<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    Ok(Asked { path, headers })
}
