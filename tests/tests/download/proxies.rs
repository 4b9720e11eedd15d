//! HTTPS_PROXY and NO_PROXY.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tests::program::Ran;

use super::release::{Home, Site, assert_failed, good_archive};

/// Passes `CONNECT` on, and counts.
fn proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || tunnel(client));
        }
    });
    (address, count)
}

fn tunnel(client: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let target = first.strip_prefix("CONNECT ")?.split(' ').next()?.to_owned();
    let server = TcpStream::connect(target).ok()?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut up, mut down) = (server.try_clone().ok()?, client);
    thread::spawn(move || {
        std::io::copy(&mut reader, &mut up).ok();
        up.shutdown(std::net::Shutdown::Write).ok();
    });
    std::io::copy(&mut &server, &mut down).ok();
    down.shutdown(std::net::Shutdown::Both).ok()
}

#[test]
fn the_users_proxy_is_used_unless_it_must_not() {
    let server = Site::with(&good_archive()).serve();
    let (address, count) = proxy();
    let run = |variables: &[(&str, &str)]| -> Ran {
        let home = Home::new();
        let mirror = home.mirror(&server);
        let mut command = home.command(&mirror.iter().map(String::as_str).collect::<Vec<_>>());
        command.envs(variables.iter().copied()).output().unwrap().into()
    };
    assert_eq!(run(&[("HTTPS_PROXY", &address)]).code, Some(0));
    let used = count.load(Ordering::SeqCst);
    assert!(used > 0);
    let without = [("HTTPS_PROXY", address.as_str()), ("NO_PROXY", "127.0.0.1")];
    assert_eq!(run(&without).code, Some(0));
    assert_eq!(count.load(Ordering::SeqCst), used);
    let dead = run(&[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_failed(&dead, 1, &["cannot get https://127.0.0.1", "HTTPS_PROXY"]);
}
