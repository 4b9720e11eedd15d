//! What is in archives, in the cache and on the command line.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use tests::fake_api::FakeApi;
use tests::https_server::Reply;

use super::release::{
    Home, Site, archive, assert_failed, expected, files, good_archive, sha256, sums,
};

#[test]
fn names_in_an_archive_lead_nowhere_else() {
    let bytes = archive(&[
        ("manifests/../../../../../stolen.yaml", b"x"),
        ("../manifests/stolen.yaml", b"x"),
        ("manifests/calico.yaml", b"kind: DaemonSet\n"),
    ]);
    let (home, server) = (Home::new(), Site::with(&bytes).serve());
    let ran = home.download(&server, &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(home.names(), ["SHA256SUMS", "manifests/calico.yaml", "release-v3.28.4.tgz"]);
    let stolen = std::process::Command::new("find")
        .arg(home.path(""))
        .args(["-name", "stolen*"])
        .output()
        .unwrap();
    assert!(stolen.stdout.is_empty(), "{stolen:?}");
}

#[test]
fn a_file_carried_by_hand_is_verified_as_well() {
    let (home, bytes) = (Home::new(), good_archive());
    let file = home.path("release-v3.28.4.tgz");
    fs::write(&file, &bytes).unwrap();
    let from = ["--from", file.to_str().unwrap(), "-o", "json"];
    // Nothing says what it should be, and the only network leads nowhere.
    let mut alone = home.command(&from);
    let ran = alone.env("HTTPS_PROXY", "http://127.0.0.1:1").output().unwrap().into();
    assert_failed(&ran, 1, &["no sum is known", "no SHA256SUMS beside it", "--sha256"]);
    assert_eq!(home.names(), Vec::<String>::new());
    fs::write(home.path("SHA256SUMS"), sums(b"something else")).unwrap();
    assert_failed(&home.run(&from), 1, &["has the sum"]);
    assert_eq!(home.names(), Vec::<String>::new());
    fs::write(home.path("SHA256SUMS"), sums(&bytes)).unwrap();
    let ran = home.run(&from);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all = [
        ["manifests/calico.yaml", "archive", "extracted"],
        ["manifests/crds.yaml", "archive", "extracted"],
        ["release-v3.28.4.tgz", "published", "imported"],
    ];
    assert_eq!(files(&ran), expected(&all));
    assert_eq!(fs::read(&file).unwrap(), bytes, "the user's file stays");
    // From now on no network is needed.
    let kept = home.run(&["--version", "3.28.4", "-o", "json"]);
    assert_eq!(kept.code, Some(0), "{kept:?}");
    assert!(files(&kept).iter().all(|it| it.2 == "kept"), "{kept:?}");
}

#[test]
fn a_file_needs_a_version_and_its_sum_may_be_given() {
    let (home, bytes) = (Home::new(), good_archive());
    let file = home.path("calico.tgz");
    fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();
    assert_failed(
        &home.run(&["--from", file]),
        2,
        &["does not name its version", "--version v3.28.4"],
    );
    let sum = sha256(&bytes);
    let ran = home.run(&["--from", file, "--version", "v3.28.4", "--sha256", &sum]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let other = home.run(&["--from", file, "--version", "v3.27.0", "--sha256", &sum]);
    assert_failed(&other, 1, &["it is the archive of v3.28.4, not of v3.27.0"]);
    let none = home.run(&["--from", "/dev/zero", "--version", "v3.27.0", "--sha256", &sum]);
    assert_failed(&none, 1, &["it is no plain file"]);
}

#[test]
fn manifests_alone_are_small_and_their_sum_is_remembered() {
    let home = Home::new();
    let site = Site::with(&good_archive());
    site.put("/v3.28.4/manifests/tigera-operator.yaml", Reply::new(200, "kind: Deployment\n"));
    let server = site.serve();
    let only = ["--only", "manifests", "-o", "json"];
    let ran = home.download(&server, &only);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let all = |state| {
        expected(
            &["calico", "crds", "tigera-operator"]
                .map(|name| format!("manifests/{name}.yaml"))
                .each_ref()
                .map(|name| [name.as_str(), "not-published", state]),
        )
    };
    assert_eq!(files(&ran), all("fetched"));
    let asked = server.paths().len();
    assert_eq!(files(&home.download(&server, &only)), all("kept"));
    assert_eq!(
        server.paths().len(),
        asked,
        "nobody is asked again, also not for what is not there"
    );
    // It was lost here and became another one there: that is refused.
    let crds = home.cached("manifests/crds.yaml");
    fs::remove_file(&crds).unwrap();
    site.put("/v3.28.4/manifests/crds.yaml", Reply::new(200, "kind: Evil\n"));
    assert_failed(&home.download(&server, &only), 1, &["the record of its first download"]);
    assert!(!crds.exists());
    // The archive proves which one is right.
    let whole = home.download(&server, &[]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert_eq!(fs::read(&crds).unwrap(), b"kind: CustomResourceDefinition\n");
}

#[test]
fn the_disk_has_the_last_word() {
    let (home, server) = (Home::new(), Site::with(&good_archive()).serve());
    fs::create_dir_all(home.cached("")).unwrap();
    symlink("/dev/full", home.cached("release-v3.28.4.tgz.part")).unwrap();
    assert_failed(&home.download(&server, &[]), 1, &["cannot write", "No space left on device"]);
    let blocked = Home::new();
    fs::write(blocked.path("cache"), b"a file").unwrap();
    assert_failed(&blocked.download(&server, &[]), 1, &["cannot create", "Not a directory"]);
}

#[test]
fn the_cache_is_the_users_own() {
    let (home, server) = (Home::new(), Site::with(&good_archive()).serve());
    assert_eq!(home.download(&server, &[]).code, Some(0));
    let mode = |name: &str| fs::metadata(home.cached(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("manifests"), 0o700);
    assert_eq!(mode("release-v3.28.4.tgz") & 0o133, 0);
}

#[test]
fn a_wrong_command_line_is_told_before_anything_happens() {
    let home = Home::new();
    for (arguments, says) in [
        (&["--version", "../../etc"][..], "is no version of a Calico release"),
        (&["--version", "v3.28.4", "--sha256", "abc"], "is no SHA-256 sum"),
        (&["--version", "v3.28.4", "--mirror", "http://127.0.0.1"], "is no https address"),
        (&["--only", "manifests", "--from", "x"], "about the release archive"),
        (&["--from", "x", "--mirror", "https://127.0.0.1"], "cannot be used with"),
    ] {
        assert_failed(&home.run(arguments), 2, &[says]);
    }
    assert!(!home.path("cache").exists());
}

#[test]
fn the_version_is_the_clusters_when_none_is_named() {
    let api = FakeApi::start(|path| {
        let list = |items: &str| Some((200, format!("{{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{{}},\"items\":[{items}]}}")));
        match path.split('?').next().unwrap_or_default() {
            "/version" => Some((200, "{\"gitVersion\":\"v1.34.4\"}".to_owned())),
            "/apis" => Some((200, "{\"kind\":\"APIGroupList\",\"groups\":[{\"name\":\"crd.projectcalico.org\"}]}".to_owned())),
            "/apis/apps/v1/daemonsets" => list(
                "{\"metadata\":{\"name\":\"calico-node\",\"namespace\":\"kube-system\",\"labels\":{\"k8s-app\":\"calico-node\"}},\
                 \"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"calico-node\",\"image\":\"docker.io/calico/node:v3.28.4\"}]}}}}",
            ),
            _ => list(""),
        }
    })
    .unwrap();
    let (home, server) = (Home::new(), Site::with(&good_archive()).serve());
    fs::create_dir(home.path(".kube")).unwrap();
    fs::write(home.path(".kube/config"), api.kubeconfig()).unwrap();
    home.mirror(&server);
    let (url, authority) = (server.url(), home.path("authority.pem"));
    let arguments = ["--mirror", &url, "--mirror-ca", authority.to_str().unwrap()];
    let ran = home.run(&arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("The cluster runs Calico v3.28.4."), "{ran:?}");
    fs::remove_file(home.path(".kube/config")).unwrap();
    assert_failed(&Home::new().run(&arguments), 1, &["--version v3.28.4"]);
}
