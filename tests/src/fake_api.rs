//! An API server that answers as it is told: for what a real one does only with effort, such as refusing everything.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What is answered to a path: a status and a JSON body; none means silence until the client gives up.
pub type Answer = fn(path: &str) -> Option<(u16, String)>;

/// A server on loopback, without TLS. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeApi {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl FakeApi {
    /// Starts it.
    ///
    /// # Errors
    /// When no port can be had on loopback.
    pub fn start(answer: Answer) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (asked, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (asked.clone(), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let (count, end) = (count.clone(), end.clone());
                thread::spawn(move || drop(serve(stream, answer, &count, &end)));
            }
        });
        Ok(Self { address, asked, ended })
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        kubeconfig(&format!("http://{}", self.address))
    }

    /// How many requests came.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for FakeApi {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

/// A kubeconfig with one context, `test`, for the server at `url`.
pub fn kubeconfig(url: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{ "name": "test-cluster", "cluster": { "server": url } }],
        "users": [{ "name": "jane", "user": { "token": "not-a-real-token" } }],
        "contexts": [{ "name": "test", "context": { "cluster": "test-cluster", "user": "jane" } }],
    })
    .to_string()
}

/// The body of an error, as an API server writes it.
pub fn status(code: u16, reason: &str, message: &str) -> (u16, String) {
    let body = serde_json::json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, body.to_string())
}

fn serve(
    mut stream: TcpStream,
    answer: Answer,
    asked: &AtomicUsize,
    ended: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let path = first.split(' ').nth(1).unwrap_or_default();
    let Some((code, body)) = answer(path) else {
        while !ended.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        return Ok(());
    };
    write!(
        stream,
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
