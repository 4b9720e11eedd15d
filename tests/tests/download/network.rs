//! What servers and connections may do.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::https_server::{Cut, HttpsServer, Reply};
use tests::program::Ran;

use super::release::{
    ARCHIVE, ETAG, Home, SUMS, Site, archive, assert_failed, expected, files, good_archive, sums,
};

const PART: &str = "release-v3.28.4.tgz.part";
/// Bytes after which connections end in these tests.
const HALF: usize = 200_000;

#[test]
fn a_release_is_fetched_verified_and_kept_and_then_needs_no_network() {
    let (home, bytes) = (Home::new(), good_archive());
    let server = Site::with(&bytes).serve();
    let ran = home.download(&server, &["-o", "json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let manifests = |state| {
        [["manifests/calico.yaml", "archive", state], ["manifests/crds.yaml", "archive", state]]
    };
    let first = [
        &[["SHA256SUMS", "not-published", "fetched"]],
        &manifests("extracted")[..],
        &[["release-v3.28.4.tgz", "published", "fetched"]],
    ]
    .concat();
    assert_eq!(files(&ran), expected(&first));
    assert_eq!(server.paths(), [SUMS, ARCHIVE], "manifests come out of the archive");
    assert_eq!(fs::read(home.cached("release-v3.28.4.tgz")).unwrap(), bytes);
    assert_eq!(fs::read(home.cached("manifests/calico.yaml")).unwrap(), b"kind: DaemonSet\n");
    let mirror = home.mirror(&server);
    drop(server);
    let mirror: Vec<&str> = mirror.iter().map(String::as_str).chain(["-o", "json"]).collect();
    let again = home.run(&mirror);
    assert_eq!(again.code, Some(0), "{again:?}");
    let kept = [
        &[["SHA256SUMS", "not-published", "kept"]],
        &manifests("kept")[..],
        &[["release-v3.28.4.tgz", "published", "kept"]],
    ]
    .concat();
    assert_eq!(files(&again), expected(&kept));
    // Control: it was verified, not merely found. What is damaged needs the network, which is gone.
    let mut damaged = bytes;
    damaged[1000] ^= 1;
    fs::write(home.cached("release-v3.28.4.tgz"), damaged).unwrap();
    assert_failed(&home.run(&mirror), 1, &["cannot get https://127.0.0.1"]);
}

#[test]
fn another_sum_is_refused_and_nothing_kept() {
    let (home, site) = (Home::new(), Site::with(&good_archive()));
    site.put(
        ARCHIVE,
        Reply::new(200, archive(&[("manifests/calico.yaml", b"kind: Evil\n")]))
            .header("etag", ETAG),
    );
    let server = site.serve();
    assert_failed(
        &home.download(&server, &[]),
        1,
        &["has the sum", "SHA256SUMS of https://127.0.0.1"],
    );
    assert_eq!(home.names(), ["SHA256SUMS"]);
    let ran = home.download(&server, &["-o", "json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("\"verdict\": \"failed\""), "{ran:?}");
}

#[test]
fn what_broke_off_goes_on_where_it_ended() {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    site.put(ARCHIVE, Reply::new(200, bytes.clone()).header("etag", ETAG).cut(HALF, Cut::Close));
    let server = site.serve();
    assert_failed(&home.download(&server, &[]), 1, &["broke off after", "goes on from there"]);
    let have = fs::read(home.cached(PART)).unwrap();
    assert!(!have.is_empty() && have.len() <= HALF && bytes.starts_with(&have), "{}", have.len());
    let range = format!("bytes {}-{}/{}", have.len(), bytes.len() - 1, bytes.len());
    site.put(
        ARCHIVE,
        Reply::new(206, &bytes[have.len()..]).header("etag", ETAG).header("content-range", range),
    );
    let ran = home.download(&server, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let asked = server.asked().pop().unwrap();
    assert_eq!(asked.headers.get("range"), Some(&format!("bytes={}-", have.len())));
    assert_eq!(asked.headers.get("if-range").map(String::as_str), Some(ETAG));
    assert_eq!(fs::read(home.cached("release-v3.28.4.tgz")).unwrap(), bytes);
    assert!(!home.names().iter().any(|name| name.contains(".part")), "{:?}", home.names());
}

/// Runs until the connection breaks, then again with another answer to the same request.
fn second_answer(reply: impl FnOnce(usize, &[u8]) -> Reply) -> (Home, Ran, Vec<u8>, HttpsServer) {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    site.put(ARCHIVE, Reply::new(200, bytes.clone()).header("etag", ETAG).cut(HALF, Cut::Close));
    let server = site.serve();
    home.download(&server, &[]);
    let have = fs::metadata(home.cached(PART)).unwrap().len();
    site.put(ARCHIVE, reply(usize::try_from(have).unwrap(), &bytes));
    let ran = home.download(&server, &[]);
    (home, ran, bytes, server)
}

#[test]
fn a_server_that_knows_no_ranges_begins_anew() {
    let (home, ran, bytes, server) = second_answer(|_, bytes| Reply::new(200, bytes));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(server.asked().pop().unwrap().headers.contains_key("range"));
    assert_eq!(fs::read(home.cached("release-v3.28.4.tgz")).unwrap(), bytes);
}

#[test]
fn a_part_that_does_not_fit_is_refused() {
    let (_, ran, ..) = second_answer(|have, bytes| {
        let range = format!("bytes {}-{}/{}", have - 1, bytes.len() - 1, bytes.len());
        Reply::new(206, &bytes[have - 1..]).header("content-range", range)
    });
    assert_failed(&ran, 1, &["part does not begin at byte"]);
}

#[test]
fn a_file_that_became_shorter_is_fetched_anew() {
    let (home, ran, ..) = second_answer(|_, _| Reply::new(416, ""));
    // This server says 416 to everything: the second request, without a range, meets it as well.
    assert_failed(&ran, 1, &["the server answered 416"]);
    assert!(!home.cached(PART).exists());
}

#[test]
fn without_a_validator_nothing_is_continued() {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    site.put(
        ARCHIVE,
        Reply::new(200, bytes.clone()).header("etag", "W/\"1\"").cut(HALF, Cut::Close),
    );
    let server = site.serve();
    home.download(&server, &[]);
    site.put(ARCHIVE, Reply::new(200, bytes));
    let ran = home.download(&server, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!server.asked().pop().unwrap().headers.contains_key("range"));
}

#[test]
fn an_interrupted_download_says_so_and_goes_on() {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    site.put(ARCHIVE, Reply::new(200, bytes.clone()).header("etag", ETAG).cut(HALF, Cut::Hang));
    let server = site.serve();
    let mirror = home.mirror(&server);
    let mirror: Vec<&str> = mirror.iter().map(String::as_str).collect();
    let mut command = home.command(&mirror);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    assert!(server.wait_for(ARCHIVE, Duration::from_secs(20)), "{:?}", server.paths());
    // Meanwhile a second one does not disturb it.
    assert_failed(&home.run(&mirror), 1, &["another download of v3.28.4 is under way"]);
    let killed = Command::new("kill").args(["-INT", &running.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = Ran::from(running.wait_with_output().unwrap());
    assert_failed(&ran, 130, &["interrupted", "download --version v3.28.4 goes on from there"]);
    let have = fs::metadata(home.cached(PART)).map_or(0, |it| usize::try_from(it.len()).unwrap());
    let range = format!("bytes {have}-{}/{}", bytes.len() - 1, bytes.len());
    let rest = Reply::new(206, &bytes[have..]).header("content-range", range);
    site.put(ARCHIVE, if have > 0 { rest } else { Reply::new(200, bytes) });
    assert_eq!(home.download(&server, &[]).code, Some(0));
}

#[test]
fn what_is_not_there_is_named() {
    let (home, server) = (Home::new(), Site::default().serve());
    let says = ["SHA256SUMS: the server answered 404", "is there such a release?"];
    assert_failed(&home.download(&server, &[]), 1, &says);
    assert_eq!(home.names(), Vec::<String>::new());
}

#[test]
fn a_redirect_to_plain_http_is_refused_and_one_to_https_followed() {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    plain.set_nonblocking(true).unwrap();
    let address = plain.local_addr().unwrap();
    site.put(
        ARCHIVE,
        Reply::new(302, "").header("location", format!("http://{address}/x?sig=hunter2")),
    );
    let server = site.serve();
    let ran = home.download(&server, &[]);
    assert_failed(&ran, 1, &["redirected to 127.0.0.1 without https, which is refused"]);
    assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    assert!(plain.accept().is_err(), "it was asked all the same");
    site.put(ARCHIVE, Reply::new(302, "").header("location", "/elsewhere?sig=1"));
    site.put("/elsewhere?sig=1", Reply::new(200, bytes));
    assert_eq!(home.download(&server, &[]).code, Some(0));
    site.put(SUMS, Reply::new(302, "").header("location", SUMS));
    assert_failed(&Home::new().download(&server, &[]), 1, &["too many redirects"]);
}

#[test]
fn only_a_trusted_server_is_believed() {
    let (home, server) = (Home::new(), Site::with(&good_archive()).serve());
    let url = server.url();
    let arguments = ["--version", "v3.28.4", "--mirror", &url];
    assert_failed(
        &home.run(&arguments),
        1,
        &["cannot get https://127.0.0.1", "invalid peer certificate", "--mirror-ca"],
    );
    assert_eq!(server.paths(), Vec::<String>::new());
    fs::write(home.path("own.pem"), server.authority()).unwrap();
    let ran = home.command(&arguments).env("SSL_CERT_FILE", home.path("own.pem")).output().unwrap();
    assert_eq!(Ran::from(ran).code, Some(0));
}

#[test]
fn a_mirrors_password_is_used_and_not_shown() {
    let (home, server) = (Home::new(), Site::with(&good_archive()).serve());
    home.mirror(&server);
    let url = server.url().replace("https://", "https://jane:hunter2@");
    let authority = home.path("authority.pem");
    let arguments = [
        "--version",
        "v3.28.4",
        "--mirror",
        &url,
        "--mirror-ca",
        authority.to_str().unwrap(),
        "-vv",
        "-o",
        "json",
    ];
    let ran = home.run(&arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // base64 of jane:hunter2
    let sent = server.asked().pop().unwrap().headers.remove("authorization");
    assert_eq!(sent.as_deref(), Some("Basic amFuZTpodW50ZXIy"));
    let record = fs::read_to_string(home.cached("record.json")).unwrap();
    for text in [&ran.stdout, &ran.stderr, &record] {
        assert!(!text.contains("hunter2") && !text.contains("amFuZTpodW50ZXIy"), "{text}");
    }
}

#[test]
fn sums_that_do_not_name_the_archive_do_not_count() {
    let (home, bytes) = (Home::new(), good_archive());
    let site = Site::with(&bytes);
    site.put(SUMS, Reply::new(200, sums(&bytes).replace("release-", "other-")));
    let server = site.serve();
    assert_failed(
        &home.download(&server, &[]),
        1,
        &["no sum is known for release-v3.28.4.tgz", "--sha256"],
    );
    assert_eq!(server.paths(), [SUMS], "what cannot be verified is not fetched");
    let given = super::release::sha256(&bytes);
    let ran = home.download(&server, &["--sha256", &given, "-o", "json"]);
    assert!(
        files(&ran).contains(&expected(&[["release-v3.28.4.tgz", "given", "fetched"]])[0]),
        "{ran:?}"
    );
}
