//! An API server of a few lines for tests, on loopback: a closure answers, and every request is kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::kubeconfig::Sources;
use super::proxy::ProxyVariables;
use super::{Cluster, ConnectOptions};

/// What the server does with a request.
pub(crate) enum Reply {
    /// Answers with this status code and body.
    Body(u16, String),
    /// The same with one more header line.
    With(u16, &'static str, String),
    /// Never answers, and sees when the client leaves.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request: `GET /path?query`, and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A server that lives as long as the test's runtime.
pub(crate) struct TestServer {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Told when a client has closed a connection that hung.
    pub(crate) left: Arc<Notify>,
}

impl TestServer {
    /// Starts a server; `answer` gets the number of the request, from 0, and the request.
    pub(crate) async fn start(
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let left = Arc::new(Notify::new());
        let (kept, leaving, answer) = (asked.clone(), left.clone(), Arc::new(answer));
        drop(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, leaving, answer) = (kept.clone(), leaving.clone(), answer.clone());
                drop(tokio::spawn(async move { serve(stream, &kept, &leaving, &*answer).await }));
            }
        }));
        Self { port, asked, left }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Their first lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    /// A connection to it.
    pub(crate) async fn cluster(&self, limit: Duration) -> Cluster {
        connect(&format!("http://127.0.0.1:{}", self.port), limit).await
    }
}

/// A connection to `server`, without any kubeconfig or proxy.
pub(crate) async fn connect(server: &str, limit: Duration) -> Cluster {
    let options = ConnectOptions {
        server: Some(server.to_owned()),
        request_timeout: Some(limit),
        ..ConnectOptions::default()
    };
    let none = Sources::List(Vec::new());
    Cluster::connect_with(&options, &none, &ProxyVariables::default()).await.unwrap()
}

async fn serve(
    stream: TcpStream,
    kept: &Mutex<Vec<Asked>>,
    left: &Notify,
    answer: &(dyn Fn(usize, &Asked) -> Reply + Send + Sync),
) {
    let mut stream = BufReader::new(stream);
    while let Some(asked) = read(&mut stream).await {
        let number = {
            let mut kept = kept.lock().unwrap();
            kept.push(asked.clone());
            kept.len() - 1
        };
        let (code, more, body) = match answer(number, &asked) {
            Reply::Body(code, body) => (code, String::new(), body),
            Reply::With(code, header, body) => (code, format!("{header}\r\n"), body),
            Reply::Hang => {
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).await.ok();
                left.notify_one();
                return;
            }
            Reply::Close => return,
        };
        let head = format!(
            "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n",
            body.len()
        );
        let all = [head.as_bytes(), body.as_bytes()].concat();
        if stream.write_all(&all).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
        })
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked { line, head, body: String::from_utf8(body).ok()? })
}
