//! What a gate holds, and what passes it, before a server that tells what it got.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use super::{Asked, Gate, Hold};
use crate::testbed::wait_every;

/// A gate before a server that tells what it was asked, and what it got in a stream; it refuses what the path tells it to.
fn gate() -> (Gate, Receiver<String>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("api");
    let listener = UnixListener::bind(&socket).unwrap();
    let (told, heard) = channel();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let told = told.clone();
            thread::spawn(move || {
                let mut client = client;
                let mut from = BufReader::new(client.try_clone().unwrap());
                let mut first = String::new();
                from.read_line(&mut first).unwrap();
                let mut line = String::new();
                while from.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                drop(told.send(first.trim().to_owned()));
                if first.contains("/exec") {
                    client.write_all(b"HTTP/1.1 101 x\r\n\r\nhello").unwrap();
                    let mut said = [0; 4];
                    from.read_exact(&mut said).unwrap();
                    drop(told.send(String::from_utf8_lossy(&said).into_owned()));
                    drop(client.write_all(br#"done {"status":"Success"}"#));
                } else {
                    let code = if first.contains("/busy") { 409 } else { 200 };
                    drop(write!(client, "HTTP/1.1 {code} x\r\nContent-Length: 2\r\n\r\nok"));
                }
            });
        }
    });
    (Gate::before(socket, folder, None).unwrap(), heard)
}

fn asks(gate: &Gate, line: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gate.address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: x\r\n{more}\r\n").unwrap();
    stream
}

fn reads(mut stream: TcpStream) -> String {
    let mut text = String::new();
    drop(stream.read_to_string(&mut text));
    text
}

fn held(gate: &Gate) -> String {
    let limit = Duration::from_secs(20);
    wait_every("something is held", limit, Duration::from_millis(5), || {
        gate.held().ok_or_else(String::new)
    })
    .unwrap()
}

const STREAM: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

fn writes(asked: &Asked) -> bool {
    asked.method == "PATCH"
}

#[test]
fn what_is_not_chosen_passes() {
    let (gate, heard) = gate();
    gate.hold(Hold::Request, writes);
    assert!(reads(asks(&gate, "GET /a?b=c", "")).ends_with("ok"));
    assert_eq!(heard.recv().unwrap(), "GET /a?b=c HTTP/1.1");
    assert_eq!(gate.held(), None);
}

#[test]
fn a_held_request_never_gets_there() {
    let (gate, heard) = gate();
    gate.hold(Hold::Request, writes);
    let waiting = asks(&gate, "PATCH /a", "");
    assert_eq!(held(&gate), "");
    assert!(reads(asks(&gate, "PATCH /b", "")).ends_with("ok"), "only the first is held");
    gate.open();
    assert_eq!(reads(waiting), "");
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["PATCH /b HTTP/1.1"]);
}

#[test]
fn a_held_answer_was_given_and_a_refusal_is_none() {
    let (gate, heard) = gate();
    gate.hold(Hold::Answer, writes);
    assert!(reads(asks(&gate, "PATCH /busy", "")).starts_with("HTTP/1.1 409"));
    let waiting = asks(&gate, "PATCH /a", "");
    assert_eq!(held(&gate), "HTTP/1.1 200 x");
    gate.open();
    assert_eq!(reads(waiting), "");
    assert_eq!(heard.try_iter().count(), 2);
}

#[test]
fn a_stream_passes_in_both_directions() {
    let (gate, heard) = gate();
    gate.hold(Hold::Request, writes);
    let mut stream = asks(&gate, "GET /exec", STREAM);
    stream.write_all(b"1234").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let said = reads(stream);
    assert!(said.contains("hello"), "{said}");
    assert_eq!(heard.iter().nth(1).unwrap(), "1234");
}

#[test]
fn of_a_stream_the_end_or_the_input_is_held() {
    let (gate, heard) = gate();
    gate.hold(Hold::Answer, |asked| asked.is_stream);
    let mut waiting = asks(&gate, "GET /exec", STREAM);
    waiting.write_all(b"1234").unwrap();
    assert_eq!(held(&gate), "Success");
    gate.open();
    assert_eq!(reads(waiting), "HTTP/1.1 101 x\r\n\r\n");
    assert_eq!(heard.try_iter().count(), 2);
    gate.hold(Hold::Input, |asked| asked.is_stream);
    let mut waiting = asks(&gate, "GET /exec", STREAM);
    waiting.write_all(b"12").unwrap();
    assert_eq!(held(&gate), "2 bytes of input");
    waiting.write_all(b"34").unwrap();
    gate.open();
    drop(waiting);
    // The other end would say what it got, had it got all of it.
    assert_eq!(heard.recv_timeout(Duration::from_secs(20)).unwrap(), "GET /exec HTTP/1.1");
    assert!(heard.recv_timeout(Duration::from_millis(50)).is_err());
}
