//! Operations on files.

use super::*;
use crate::plan::host::backup_path;
use crate::plan::{Expected, FileContent};

const DIRECTORY: &str = "/etc/cni/net.d";
const CONFLIST: &str = "/etc/cni/net.d/10-calico.conflist";
const OLD: &str = "{\"old\": true}\n";
const NEW: &str = "{\"it's\": \"$(new)\"}\n\n";

fn backup() -> String {
    backup_path(CONFLIST, &PlanId(RUN.into()))
}

fn backup_name() -> String {
    backup().rsplit_once('/').unwrap().1.to_owned()
}

fn write(expected: Expected) -> HostOperation {
    HostOperation::WriteFile {
        path: CONFLIST.into(),
        mode: 0o640,
        content: FileContent::Text { text: NEW.into() },
        expected,
        backup: backup(),
    }
}

fn write_token(expected: Expected) -> HostOperation {
    let content = FileContent::CniKubeconfig {
        server: "https://10.96.0.1:443".into(),
        namespace: "kube-system".into(),
        service_account: "calico-cni-plugin".into(),
    };
    HostOperation::WriteFile {
        path: CONFLIST.into(),
        mode: 0o600,
        content,
        expected,
        backup: backup(),
    }
}

fn restore(expected: Expected) -> HostOperation {
    HostOperation::RestoreFile { path: CONFLIST.into(), expected, backup: backup() }
}

fn move_aside(expected: Expected) -> HostOperation {
    HostOperation::MoveAside { path: CONFLIST.into(), expected, backup: backup() }
}

fn remove(expected: Expected) -> HostOperation {
    HostOperation::RemoveFile { path: CONFLIST.into(), expected }
}

fn is(content: &str) -> Expected {
    Expected::Sha256(sha256(content))
}

fn host_with(content: Option<&str>) -> Host {
    let host = Host::new();
    fs::create_dir_all(host.path(DIRECTORY)).unwrap();
    if let Some(content) = content {
        host.write(CONFLIST, content);
    }
    host
}

#[test]
fn a_file_is_written_once_and_kept_and_put_back() {
    for shell in shells() {
        let name = shell.join(" ");
        let host = host_with(Some(OLD));
        let result = host.perform(&shell, &write(is(OLD)), None);
        assert_eq!(facts(&result)["sha256"], sha256(NEW), "{name}");
        assert_eq!(facts(&result)["before"], sha256(OLD), "{name}");
        assert_eq!(host.read(CONFLIST).as_deref(), Some(NEW), "{name}");
        assert_eq!(host.mode(CONFLIST), 0o640, "{name}");
        assert_eq!(host.read(&backup()).as_deref(), Some(OLD), "{name}");
        assert_eq!(
            host.names(DIRECTORY),
            ["10-calico.conflist".to_owned(), backup_name()],
            "{name}"
        );

        assert_already(&host.perform(&shell, &write(is(OLD)), None), &name);
        assert_eq!(host.read(&backup()).as_deref(), Some(OLD), "{name}");

        assert_changed(&host.perform(&shell, &restore(is(NEW)), None), &name);
        assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD), "{name}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"], "{name}");
        for expected in [is(NEW), Expected::Any, Expected::Absent] {
            assert_already(&host.perform(&shell, &restore(expected), None), &name);
            assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD), "{name}");
        }
    }
}

#[test]
fn what_was_not_there_is_gone_again_afterwards() {
    for shell in shells() {
        let name = shell.join(" ");
        let host = host_with(None);
        let result = host.perform(&shell, &write(Expected::Absent), None);
        assert_eq!(facts(&result)["before"], "absent", "{name}");
        assert_eq!(host.read(CONFLIST).as_deref(), Some(NEW), "{name}");
        assert_changed(&host.perform(&shell, &restore(is(NEW)), None), &name);
        assert_eq!(host.names(DIRECTORY), [""; 0], "{name}");
        assert_already(&host.perform(&shell, &restore(is(NEW)), None), &name);

        // Nothing is taken away that this run did not write, whatever it looks like.
        host.write(CONFLIST, NEW);
        fs::set_permissions(host.path(CONFLIST), fs::Permissions::from_mode(0o640)).unwrap();
        assert_already(&host.perform(&shell, &write(Expected::Absent), None), &name);
        assert_already(&host.perform(&shell, &restore(is(NEW)), None), &name);
        assert_eq!(host.read(CONFLIST).as_deref(), Some(NEW), "{name}");
    }
}

#[test]
fn what_is_not_as_expected_is_left_alone() {
    for shell in shells() {
        let host = host_with(Some(OLD));
        for (operation, words) in [
            (write(Expected::Absent), "was not expected"),
            (write(is("other")), "something else"),
            (move_aside(is("other")), "something else"),
            (remove(is("other")), "something else"),
        ] {
            assert_refused(&host.perform(&shell, &operation, None), words);
            assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);
            assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD));
        }
        fs::remove_file(host.path(CONFLIST)).unwrap();
        assert_refused(&host.perform(&shell, &write(is(OLD)), None), "is gone");
        assert_eq!(host.names(DIRECTORY), [""; 0]);

        // Rewritten after us: undo does not take that away.
        assert_changed(&host.perform(&shell, &write(Expected::Absent), None), "write");
        host.write(CONFLIST, "third");
        assert_refused(&host.perform(&shell, &restore(is(NEW)), None), "something else");
        assert_eq!(host.read(CONFLIST).as_deref(), Some("third"));
        assert_refused(&host.perform(&shell, &write(Expected::Absent), None), "was not expected");
    }
}

#[test]
fn links_and_directories_are_left_alone() {
    for shell in shells() {
        let host = host_with(None);
        host.write("/elsewhere", OLD);
        std::os::unix::fs::symlink("/elsewhere", host.path(CONFLIST)).unwrap();
        for operation in [write(Expected::Any), move_aside(Expected::Any), remove(is(OLD))] {
            assert_refused(&host.perform(&shell, &operation, None), "symbolic link");
        }
        assert_eq!(host.read("/elsewhere").as_deref(), Some(OLD));
        fs::remove_file(host.path(CONFLIST)).unwrap();
        fs::create_dir(host.path(CONFLIST)).unwrap();
        for operation in [write(Expected::Any), move_aside(Expected::Any), remove(is(OLD))] {
            assert_refused(&host.perform(&shell, &operation, None), "not a regular file");
        }
        // A directory is never made: the container runtime would not see it.
        fs::remove_dir_all(host.path(DIRECTORY)).unwrap();
        assert_refused(&host.perform(&shell, &write(Expected::Absent), None), "no directory");
        assert!(!exists(&host.path(DIRECTORY)));
    }
}

#[test]
fn a_directory_may_be_reached_through_a_link() {
    let host = Host::new();
    fs::create_dir_all(host.path("/var/opt/net.d")).unwrap();
    fs::create_dir_all(host.path("/etc/cni")).unwrap();
    std::os::unix::fs::symlink("../../var/opt/net.d", host.path(DIRECTORY)).unwrap();
    assert_changed(&host.perform(&shells()[0], &write(Expected::Absent), None), "link");
    assert_eq!(host.read("/var/opt/net.d/10-calico.conflist").as_deref(), Some(NEW));
}

#[test]
fn the_mode_alone_is_set_where_the_content_is_right() {
    for shell in shells() {
        let host = host_with(Some(NEW));
        fs::set_permissions(host.path(CONFLIST), fs::Permissions::from_mode(0o666)).unwrap();
        assert_changed(&host.perform(&shell, &write(Expected::Any), None), "mode");
        assert_eq!(host.mode(CONFLIST), 0o640);
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);
        assert_already(&host.perform(&shell, &write(Expected::Any), None), "mode");
    }
}

#[test]
fn a_token_that_is_made_anew_replaces_that_of_the_attempt_before() {
    for shell in shells() {
        let host = host_with(Some(OLD));
        let first = host.perform(&shell, &write_token(is(OLD)), Some(b"token: one"));
        assert_changed(&first, "first");
        let second = host.perform(&shell, &write_token(is(OLD)), Some(b"token: two"));
        assert_changed(&second, "second");
        assert_eq!(host.read(CONFLIST).as_deref(), Some("token: two"));
        assert_eq!(host.read(&backup()).as_deref(), Some(OLD));
        assert!(!format!("{first:?}{second:?}").contains("token"));
        // Without what this run kept, nothing says that it is ours.
        fs::remove_file(host.path(&backup())).unwrap();
        let third = host.perform(&shell, &write_token(is(OLD)), Some(b"token: three"));
        assert_refused(&third, "something else");
    }
}

#[test]
fn bytes_survive_and_large_content_does_not_take_long() {
    let all: Vec<u8> = (0..=255).cycle().take(3 * 1024 * 1024 + 1).collect();
    for shell in shells() {
        for payload in [&all[..], b"", b"\0"] {
            let host = host_with(Some(OLD));
            let result = host.perform(&shell, &write_token(Expected::Any), Some(payload));
            assert_changed(&result, &shell.join(" "));
            assert_eq!(fs::read(host.path(CONFLIST)).unwrap(), payload);
        }
    }
}

#[test]
fn a_host_that_lacks_a_program_is_told_so() {
    for shell in shells() {
        let host = host_with(Some(OLD));
        let tools = host.path("tools");
        fs::create_dir(&tools).unwrap();
        for tool in ["mv", "rm", "sha256sum", "chmod", "chown", "cp", "id", "ln", "stat"] {
            let found = ["/usr/bin", "/bin"].map(|it| Path::new(it).join(tool));
            let found = found.iter().find(|it| it.exists()).unwrap();
            std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
        }
        let script = String::from_utf8(host.script(&write(Expected::Any), None)).unwrap();
        let script = format!(
            "CALICO_HOST_PATH={}\n{script}",
            super::super::quote::quote(tools.to_str().unwrap())
        );
        let ended = host.run(&shell, script.as_bytes());
        let result = parse(&ended.stdout, ended.code);
        // busybox's shell has applets of its own.
        if shell[0] != "busybox" {
            assert_failed(&result, "no program base64");
            assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD));
        }
    }
}

#[test]
fn content_that_does_not_arrive_whole_is_not_put_in_place() {
    for shell in shells().into_iter().filter(|it| it[0] != "busybox") {
        let host = host_with(Some(OLD));
        host.program("base64", "printf half; exit 1");
        let result = host.perform(&shell, &write(Expected::Any), None);
        assert_failed(&result, "could not be decoded");
        host.program("base64", "printf half; exit 0");
        assert_failed(&host.perform(&shell, &write(Expected::Any), None), "not what was sent");
        host.program("base64", "printf half; kill -9 0");
        let killed = host.run(&shell, &host.script(&write(Expected::Any), None));
        assert!(killed.killed);
        assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD));
        fs::remove_file(host.path("programs/base64")).unwrap();
        assert_changed(&host.perform(&shell, &write(Expected::Any), None), "again");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist".to_owned(), backup_name()]);
    }
}

#[test]
fn a_script_that_arrives_in_part_does_nothing() {
    let host = host_with(Some(OLD));
    let script = host.script(&write(Expected::Any), None);
    let call = script.windows(11).rposition(|it| it == b"\noperation ").unwrap();
    for shell in shells() {
        for length in [0, 40, call / 4, call / 2, call - call / 4, call - 40, call, call + 8] {
            let ended = host.run_with(&shell, &script[..length], true);
            let result = parse(&ended.stdout, ended.code);
            assert!(matches!(result, HostResult::Failed(_)), "{shell:?} {length}: {result:?}");
            assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"], "{shell:?} {length}");
            assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD), "{shell:?} {length}");
        }
    }
}

#[test]
fn a_file_is_moved_aside_and_back() {
    for shell in shells() {
        let name = shell.join(" ");
        let host = host_with(Some(OLD));
        assert_changed(&host.perform(&shell, &move_aside(is(OLD)), None), &name);
        assert_eq!(host.names(DIRECTORY), [backup_name()], "{name}");
        assert_already(&host.perform(&shell, &move_aside(is(OLD)), None), &name);
        host.write(CONFLIST, OLD);
        assert_refused(&host.perform(&shell, &move_aside(is(OLD)), None), "something writes it");
        host.write(CONFLIST, "third");
        assert_refused(&host.perform(&shell, &restore(Expected::Absent), None), "not expected");
        fs::remove_file(host.path(CONFLIST)).unwrap();
        assert_changed(&host.perform(&shell, &restore(Expected::Absent), None), &name);
        assert_eq!(host.read(CONFLIST).as_deref(), Some(OLD), "{name}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"], "{name}");
        assert_already(&host.perform(&shell, &restore(Expected::Absent), None), &name);
    }
}

#[test]
fn a_file_is_removed_and_so_is_a_note_of_ours() {
    for shell in shells() {
        let host = host_with(Some(OLD));
        assert_changed(&host.perform(&shell, &remove(is(OLD)), None), "remove");
        assert_eq!(host.names(DIRECTORY), [""; 0]);
        assert_already(&host.perform(&shell, &remove(is(OLD)), None), "remove");
        assert_changed(&host.perform(&shell, &write(Expected::Absent), None), "write");
        let note = HostOperation::RemoveFile { path: backup(), expected: Expected::Any };
        assert!(host.path(&backup()).is_symlink());
        assert_changed(&host.perform(&shell, &note, None), "note");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);
    }
}

/// On a copy of the host: whatever a killed write did is taken back.
fn take_back(host: &Host, old: Option<&str>) {
    let copy = Host::new();
    fs::create_dir_all(copy.path("/etc/cni")).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args([host.path(DIRECTORY), copy.path("/etc/cni/")])
        .status()
        .unwrap();
    assert!(copied.success());
    let undone = copy.perform(&shells()[0], &restore(is(NEW)), None);
    assert!(!matches!(undone, HostResult::Refused(_) | HostResult::Failed(_)), "{undone:?}");
    assert_eq!(copy.read(CONFLIST).as_deref(), old);
    assert_eq!(copy.names(DIRECTORY).len(), usize::from(old.is_some()));
}

#[test]
fn killed_anywhere_a_write_leaves_the_old_or_the_new_and_is_finished_by_the_next_run() {
    let check = |host: &Host, was_killed: bool| {
        let content = host.read(CONFLIST).unwrap();
        assert!(content == NEW || was_killed && content == OLD, "{content}");
        if was_killed {
            take_back(host, Some(OLD));
        } else {
            assert_eq!(host.names(DIRECTORY), ["10-calico.conflist".to_owned(), backup_name()]);
            assert_eq!(host.read(&backup()).as_deref(), Some(OLD));
            assert_eq!(host.mode(CONFLIST), 0o640);
        }
    };
    kill_at_commands(1, &write(is(OLD)), None, || host_with(Some(OLD)), check);
}

#[test]
fn killed_anywhere_a_write_of_a_new_file_is_finished_by_the_next_run() {
    let check = |host: &Host, was_killed: bool| {
        let content = host.read(CONFLIST);
        assert!(content.as_deref() == Some(NEW) || was_killed && content.is_none(), "{content:?}");
        if was_killed {
            take_back(host, None);
        } else {
            assert_eq!(host.names(DIRECTORY), ["10-calico.conflist".to_owned(), backup_name()]);
            assert!(host.path(&backup()).is_symlink());
        }
    };
    kill_at_commands(1, &write(Expected::Absent), None, || host_with(None), check);
}

#[test]
fn killed_anywhere_moving_and_restoring_are_finished_by_the_next_run() {
    let check = |host: &Host, was_killed: bool| {
        let names = host.names(DIRECTORY);
        assert!(
            names == [backup_name()] || was_killed && names == ["10-calico.conflist"],
            "{names:?}"
        );
    };
    kill_at_commands(1, &move_aside(is(OLD)), None, || host_with(Some(OLD)), check);

    let written = |content: Option<&str>| {
        let host = host_with(content);
        let expected = content.map_or(Expected::Absent, is);
        assert_changed(&host.perform(&shells()[0], &write(expected), None), "write");
        host
    };
    let check = |host: &Host, was_killed: bool| {
        let content = host.read(CONFLIST).unwrap();
        assert!(content == OLD || was_killed && content == NEW, "{content}");
        assert!(was_killed || host.names(DIRECTORY) == ["10-calico.conflist"]);
    };
    kill_at_commands(1, &restore(is(NEW)), None, || written(Some(OLD)), check);
    let check = |host: &Host, was_killed: bool| {
        let content = host.read(CONFLIST);
        assert!(content.is_none() || was_killed && content.as_deref() == Some(NEW), "{content:?}");
        assert!(was_killed || host.names(DIRECTORY).is_empty());
    };
    kill_at_commands(1, &restore(is(NEW)), None, || written(None), check);
}
