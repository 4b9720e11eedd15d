//! Passes one request and its answer on, as far as the gate lets them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use super::{Asked, Hold, Shared, Trap};

/// Most of a stream's input that passes when the rest is held, in bytes: less than any of our scripts has.
const PART: usize = 4000;

/// How a stream says in its last message how the command ended, in JSON.
const STATUS: &[u8] = br#""status":""#;

struct Request {
    asked: Asked,
    bytes: Vec<u8>,
}

/// Serves one request: its connection ends with it, so that no second one can hide in it.
pub(super) fn serve(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let Some(request) = Request::read(&mut from)? else { return Ok(()) };
    let trap = shared.caught(&request.asked);
    if let Some(trap) = trap.as_ref().filter(|trap| trap.how == Hold::Request) {
        shared.keep(trap, String::new());
        return Ok(());
    }
    let mut server = UnixStream::connect(&shared.upstream)?;
    server.write_all(&request.bytes)?;
    if request.asked.is_stream {
        stream(from, client, server, (trap, shared))
    } else {
        answer(client, server, (trap, shared))
    }
}

impl Request {
    /// None when the client left without one.
    fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let head = head(from)?;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
        let named = |name: &str| {
            let mut headers = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            headers
                .find(|(it, _)| it.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned())
        };
        let is_stream = named("upgrade").is_some();
        if named("transfer-encoding").is_some() {
            return Err(io::Error::other("a body without a length"));
        }
        let length: u64 = named("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
        let mut bytes = if is_stream { head } else { once(&text).into_bytes() };
        let read = from.take(length).read_to_end(&mut bytes)?;
        if u64::try_from(read).is_ok_and(|read| read < length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Self { asked: Asked { method, path, is_stream }, bytes }))
    }
}

/// The head of a request that asks for its connection to end with the answer.
fn once(head: &str) -> String {
    let stays = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default();
        !line.is_empty() && !name.eq_ignore_ascii_case("connection")
    };
    let lines: String = head.lines().filter(stays).map(|line| format!("{line}\r\n")).collect();
    format!("{lines}Connection: close\r\n\r\n")
}

/// Reads up to the empty line, or to the end.
fn head(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        let read = from.read_until(b'\n', &mut head)?;
        if read == 0 || head[before..].trim_ascii().is_empty() {
            return Ok(head);
        }
    }
}

fn first_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()
}

type Caught<'a> = (Option<Trap>, &'a Shared);

fn answer(
    mut client: TcpStream,
    mut server: UnixStream,
    (trap, shared): Caught<'_>,
) -> io::Result<()> {
    let Some(trap) = trap else {
        io::copy(&mut server, &mut client)?;
        return Ok(());
    };
    let mut whole = Vec::new();
    server.read_to_end(&mut whole)?;
    let line = first_line(&whole);
    if line.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        shared.keep(&trap, line);
        return Ok(());
    }
    shared.set_again(trap);
    client.write_all(&whole)
}

fn stream(
    from: BufReader<TcpStream>,
    mut client: TcpStream,
    server: UnixStream,
    (trap, shared): Caught<'_>,
) -> io::Result<()> {
    let mut back = BufReader::new(server.try_clone()?);
    let start = head(&mut back)?;
    client.write_all(&start)?;
    if !start.starts_with(b"HTTP/1.1 101") {
        io::copy(&mut back, &mut client)?;
        return Ok(());
    }
    let trap = match trap {
        Some(trap) if trap.how == Hold::Input => return part_of(from, server, (&trap, shared)),
        other => other,
    };
    let there = thread::spawn(move || pass_on(from, server));
    if let Some(trap) = &trap {
        let status = last_words(&mut back)?;
        shared.keep(trap, status);
        client.shutdown(Shutdown::Both)?;
    } else {
        drop(io::copy(&mut back, &mut client));
        // The client still has to say that it is through.
        drop(client.shutdown(Shutdown::Write));
    }
    drop(there.join());
    Ok(())
}

/// Passes the beginning of what the client says, and nothing more.
fn part_of(
    mut from: BufReader<TcpStream>,
    mut server: UnixStream,
    (trap, shared): (&Trap, &Shared),
) -> io::Result<()> {
    let mut part = [0; PART];
    let read = from.read(&mut part)?;
    server.write_all(&part[..read])?;
    shared.keep(trap, format!("{read} bytes of input"));
    server.shutdown(Shutdown::Both)
}

/// What the client says. When it says no more, the stream ends.
fn pass_on(mut from: BufReader<TcpStream>, mut server: UnixStream) {
    drop(io::copy(&mut from, &mut server));
    drop(server.shutdown(Shutdown::Both));
}

/// Takes what the command says until it says how it ended: that, or nothing when the stream ends before.
fn last_words(back: &mut impl BufRead) -> io::Result<String> {
    let mut all = Vec::new();
    let mut part = [0; PART];
    loop {
        let read = back.read(&mut part)?;
        all.extend_from_slice(&part[..read]);
        let found = all.windows(STATUS.len()).position(|it| it == STATUS);
        // The word itself may be in the next part.
        let word = found.map(|at| &all[at + STATUS.len()..]);
        let end = word.and_then(|word| word.iter().position(|it| *it == b'"'));
        if let (Some(word), Some(end)) = (word, end) {
            return Ok(String::from_utf8_lossy(&word[..end]).into_owned());
        }
        if read == 0 {
            return Ok(String::new());
        }
    }
}
