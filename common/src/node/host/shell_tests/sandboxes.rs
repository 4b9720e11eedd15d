//! Stopping and removing sandboxes, with a runtime that is ours.

use std::os::unix::net::UnixListener;

use super::*;
use crate::plan::SandboxRef;

const DIRECTORY: &str = "/etc/cni/net.d";
const LOOPBACK: &str = "/etc/cni/net.d/00-kubectl-calico-loopback.conflist";
const UID: &str = "8a0c-uid";

/// A runtime that keeps a file for each sandbox (its state and its pod's uid), and writes down what it is asked. Stopping
/// succeeds while there is a file `del-works` or the first network configuration is the loopback one.
const CRICTL: &str = r#"
[ "$1 $2 $3 $4" = "--runtime-endpoint unix://$root/run/containerd/containerd.sock --timeout ${4}" ] || exit 64
shift 4
state=$root/runtime
echo "$*" >>"$state.log"
[ ! -e "$root/hangs" ] || sleep 30
conflist="$root/etc/cni/net.d/00-kubectl-calico-loopback.conflist"
works() {
    [ -e "$root/del-works" ] || grep -q '"type":"loopback"' "$conflist" 2>/dev/null
}
case $1 in
    version) ;;
    info) printf '{\n  "config": {\n    "cni": {\n      "binDir": "/opt/cni/bin",\n      "confDir": "/etc/cni/net.d"\n    }\n  }\n}\n' ;;
    pods)
        if [ -e "$state/$3" ]; then
            read -r now uid <"$state/$3"
            printf '{\n  "items": [\n    {\n      "id": "%s",\n      "metadata": {\n        "name": "web",\n        "uid": "%s",\n' "$3" "$uid"
            printf '        "namespace": "shop",\n        "attempt": 0\n      },\n      "state": "%s",\n' "$now"
            printf '      "createdAt": "1",\n      "labels": {\n        "id": "x",\n        "state": "y",\n        "uid": "z"\n      }\n    }\n  ]\n}\n'
        else
            printf '{\n  "items": []\n}\n'
        fi
        ;;
    stopp | rmp)
        if [ -e "$root/kill-with-loopback" ] && [ -e "$conflist" ]; then
            kill -9 0
        fi
        if ! works; then
            printf 'level=fatal msg="stopping the pod sandbox \\"%s\\": failed to destroy network for sandbox\nUnauthorized"\n' "$2" >&2
            exit 1
        fi
        [ "$1" = stopp ] || rm -f "$state/$2"
        ;;
    *) exit 64 ;;
esac
"#;

struct Runtime {
    host: Host,
    _socket: UnixListener,
}

/// A host with sandboxes `s1` … of one pod each, that are not ready.
fn runtime(count: usize) -> Runtime {
    let host = Host::new();
    fs::create_dir_all(host.path(DIRECTORY)).unwrap();
    host.write("/etc/cni/net.d/10-calico.conflist", "{}");
    fs::create_dir_all(host.path("/run/containerd")).unwrap();
    let socket = UnixListener::bind(host.path("/run/containerd/containerd.sock")).unwrap();
    for number in 1..=count {
        host.write(&format!("/runtime/s{number}"), format!("SANDBOX_NOTREADY {UID}\n"));
    }
    host.program("crictl", CRICTL);
    Runtime { host, _socket: socket }
}

fn remove(count: usize, loopback: bool) -> HostOperation {
    let sandbox = |number| SandboxRef {
        id: format!("s{number}"),
        namespace: "shop".into(),
        name: "web".into(),
        uid: UID.into(),
        ready: false,
    };
    HostOperation::RemoveSandboxes { sandboxes: (1..=count).map(sandbox).collect(), loopback }
}

fn asked(host: &Host, what: &str) -> usize {
    host.read("/runtime.log").unwrap_or_default().lines().filter(|it| it.starts_with(what)).count()
}

#[test]
fn where_the_plugin_works_nothing_else_is_used() {
    for shell in shells() {
        let name = shell.join(" ");
        let runtime = runtime(5);
        let host = &runtime.host;
        host.write("/del-works", "");
        host.write("/runtime/other", "SANDBOX_READY u\n");
        let result = host.perform(&shell, &remove(5, true), None);
        let mut removed: Vec<_> = facts(&result)["removed"].split(' ').collect();
        removed.sort_unstable();
        assert_eq!(removed, ["s1", "s2", "s3", "s4", "s5"], "{name}");
        assert!(!facts(&result).contains_key("loopback"), "{name}");
        assert_eq!(host.names("/runtime"), ["other"], "{name}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"], "{name}");
        assert_already(&host.perform(&shell, &remove(5, true), None), &name);
    }
}

#[test]
fn where_it_cannot_the_loopback_configuration_stands_in_and_goes() {
    for shell in shells() {
        let name = shell.join(" ");
        let runtime = runtime(6);
        let host = &runtime.host;
        let result = host.perform(&shell, &remove(6, true), None);
        assert_eq!(facts(&result)["loopback"], "used", "{name}");
        assert_eq!(host.names("/runtime"), [""; 0], "{name}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"], "{name}");
        // One batch showed that it cannot; the two of the next were not tried in vain.
        assert_eq!(asked(host, "stopp"), 4 + 6, "{name}");
        // The timer was set to a minute: it has been ended.
        wait_until("the timer ends", Duration::from_secs(20), || host.processes().is_empty());
    }
}

#[test]
fn without_leave_nothing_is_put_in_front() {
    for shell in shells() {
        let runtime = runtime(2);
        let result = runtime.host.perform(&shell, &remove(2, false), None);
        assert_failed(&result, "sandbox s1 of shop/web is left (2 in all): level=fatal");
        assert_failed(&result, "Unauthorized");
        assert_eq!(runtime.host.names("/runtime"), ["s1", "s2"]);
        assert_eq!(runtime.host.names(DIRECTORY), ["10-calico.conflist"]);
    }
}

#[test]
fn a_sandbox_that_is_ready_or_of_another_pod_keeps_all_from_being_touched() {
    for shell in shells() {
        for (state, words) in [
            (format!("SANDBOX_READY {UID}\n"), "it is ready"),
            ("SANDBOX_NOTREADY another\n".to_owned(), "another pod"),
            ("SANDBOX_READY another\n".to_owned(), "another pod"),
            (format!("SANDBOX_STRANGE {UID}\n"), "another pod"),
        ] {
            let runtime = runtime(2);
            runtime.host.write("/del-works", "");
            runtime.host.write("/runtime/s2", &state);
            let result = runtime.host.perform(&shell, &remove(2, true), None);
            assert_refused(&result, "sandbox s2 of shop/web is to stay");
            assert_refused(&result, words);
            assert_eq!(asked(&runtime.host, "stopp"), 0);
            assert_eq!(runtime.host.names("/runtime"), ["s1", "s2"]);
        }
    }
}

#[test]
fn a_ready_sandbox_goes_when_the_plan_says_so() {
    let runtime = runtime(1);
    runtime.host.write("/del-works", "");
    runtime.host.write("/runtime/s1", format!("SANDBOX_READY {UID}\n"));
    let HostOperation::RemoveSandboxes { mut sandboxes, loopback } = remove(1, false) else {
        unreachable!()
    };
    sandboxes[0].ready = true;
    let operation = HostOperation::RemoveSandboxes { sandboxes, loopback };
    for shell in shells().iter().take(1) {
        assert_changed(&runtime.host.perform(shell, &operation, None), "ready");
    }
}

#[test]
fn a_runtime_that_cannot_be_asked_is_told() {
    for shell in shells() {
        let runtime = runtime(1);
        runtime.host.program("crictl", "exit 1");
        assert_failed(&runtime.host.perform(&shell, &remove(1, true), None), "does not answer");
        fs::remove_file(runtime.host.path("/run/containerd/containerd.sock")).unwrap();
        assert_refused(&runtime.host.perform(&shell, &remove(1, true), None), "usual places");
    }
}

#[test]
fn the_runtime_is_found_where_the_kubelet_finds_it() {
    for shell in shells() {
        for (file, content) in [
            ("/proc/77/cmdline", "kubelet\0--container-runtime-endpoint=unix:///odd/run.sock\0"),
            (
                "/proc/77/cmdline",
                "kubelet\0--container-runtime-endpoint\0unix:///odd/run.sock\0--v=2\0",
            ),
            ("/proc/77/cmdline", "kubelet\0--config=/odd/kubelet.yaml\0"),
            (
                "/var/lib/kubelet/config.yaml",
                "a: b\ncontainerRuntimeEndpoint: \"unix:///odd/run.sock\"\n",
            ),
        ] {
            let runtime = runtime(1);
            let host = &runtime.host;
            fs::create_dir_all(host.path("/odd")).unwrap();
            let _socket = UnixListener::bind(host.path("/odd/run.sock")).unwrap();
            host.write(
                "/odd/kubelet.yaml",
                "containerRuntimeEndpoint: unix:///odd/run.sock # odd\n",
            );
            host.write("/proc/77/comm", "kubelet\n");
            host.write(file, content);
            host.program("crictl", "echo \"$2\" >>\"$root/seen\"; exit 1");
            assert_failed(&host.perform(&shell, &remove(1, true), None), "does not answer");
            let wanted = format!("unix://{}\n", host.path("/odd/run.sock").display());
            assert_eq!(host.read("/seen").unwrap(), wanted, "{shell:?} {file} {content:?}");
        }
    }
}

#[test]
fn killed_with_the_configuration_in_place_it_goes_in_time() {
    for shell in shells() {
        let mut runtime = runtime(1);
        runtime.host.loopback_seconds = 2;
        let host = &runtime.host;
        host.write("/kill-with-loopback", "");
        let ended = host.run(&shell, &host.script(&remove(1, true), None));
        assert!(ended.killed, "{shell:?}: {}", String::from_utf8_lossy(&ended.stdout));
        assert!(exists(&host.path(LOOPBACK)), "{shell:?}: killed too early");
        let limit = Duration::from_secs(10);
        let took = wait_until("the configuration goes", limit, || !exists(&host.path(LOOPBACK)));
        // Nothing but the time limit of this machine's load is in it: the timer itself was set to 2 s.
        assert!(took < Duration::from_secs(6), "{shell:?}: {took:?}");
        wait_until("the timer ends", limit, || host.processes().is_empty());
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);

        fs::remove_file(host.path("/kill-with-loopback")).unwrap();
        assert_changed(&host.perform(&shell, &remove(1, true), None), "again");
        assert_eq!(host.names("/runtime"), [""; 0]);
    }
}

#[test]
fn the_timer_of_a_killed_run_leaves_that_of_the_next_alone() {
    let shell = &shells()[0];
    let mut runtime = runtime(1);
    runtime.host.loopback_seconds = 2;
    let host = &runtime.host;
    host.write("/kill-with-loopback", "");
    assert!(host.run(shell, &host.script(&remove(1, true), None)).killed);
    let others = host.read(LOOPBACK).unwrap().replace(RUN, "01OTHER");
    host.write(LOOPBACK, &others);
    wait_until("the timer ends", Duration::from_secs(10), || host.processes().is_empty());
    assert_eq!(host.read(LOOPBACK).unwrap(), others);
}

#[test]
fn killed_anywhere_nothing_is_left_and_the_next_run_finishes() {
    let prepare = || {
        let mut runtime = runtime(1);
        runtime.host.loopback_seconds = 60;
        let Runtime { host, _socket } = runtime;
        // The file of the socket stays when the listener goes.
        host
    };
    let check = |host: &Host, was_killed: bool| {
        if was_killed {
            // Whatever is in place has a timer that is running.
            let is_there = exists(&host.path(LOOPBACK));
            assert!(!is_there || !host.processes().is_empty(), "no timer for {LOOPBACK}");
        } else {
            assert_eq!(
                host.names(DIRECTORY).iter().filter(|it| it.ends_with(".conflist")).count(),
                1
            );
            assert_eq!(host.names("/runtime"), [""; 0]);
            end_timers(host);
        }
    };
    kill_at_commands(9, &remove(1, true), None, prepare, check);
}

/// Ends what killed scripts left running, as it would go on for a minute.
fn end_timers(host: &Host) {
    let needle = host.root.path().to_str().unwrap();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(needle) {
            let pid = entry.file_name().into_string().unwrap();
            drop(Command::new("kill").arg(pid).stderr(Stdio::null()).status());
        }
    }
}

#[test]
fn systemd_keeps_the_time_where_there_is_systemd() {
    for shell in shells() {
        let runtime = runtime(1);
        let host = &runtime.host;
        fs::create_dir_all(host.path("/run/systemd/system")).unwrap();
        host.program(
            "systemd-run",
            "for word; do printf '%s\\n' \"$word\"; done >\"$root/ordered\"; cp \"$0\" \"$root/x\"",
        );
        host.program("systemctl", "echo \"$*\" >>\"$root/systemctl.log\"");
        assert_changed(&host.perform(&shell, &remove(1, true), None), "systemd");
        let ordered = host.read("/ordered").unwrap();
        assert!(ordered.contains("--on-active=60s\n--timer-property=AccuracySec="), "{ordered}");
        assert!(ordered.contains("\nnow\n"), "{ordered}");
        let stopped = host.read("/systemctl.log").unwrap();
        assert!(stopped.starts_with(&format!("stop kubectl-calico-loopback-{RUN}")), "{stopped}");
        assert!(stopped.contains(".timer\n"), "{stopped}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);
    }
}

/// Without crictl the kubelet does it, as soon as it can.
#[test]
fn without_crictl_the_kubelet_is_waited_for() {
    let folder = "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes";
    for shell in shells() {
        let mut runtime = runtime(0);
        runtime.host.loopback_seconds = 5;
        let host = &runtime.host;
        fs::remove_file(host.path("programs/crictl")).unwrap();
        assert_refused(&host.perform(&shell, &remove(1, false), None), "no crictl");
        assert_refused(&host.perform(&shell, &remove(1, true), None), "cannot be seen");

        fs::create_dir_all(host.path(folder)).unwrap();
        assert_already(&host.perform(&shell, &remove(1, true), None), "gone");

        fs::create_dir_all(host.path(&format!("{folder}/s1"))).unwrap();
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                let limit = Duration::from_secs(10);
                wait_until("the configuration", limit, || exists(&host.path(LOOPBACK)));
                fs::remove_dir(host.path(&format!("{folder}/s1"))).unwrap();
            });
            host.perform(&shell, &remove(1, true), None)
        });
        assert_eq!(facts(&result)["removed"], "s1", "{shell:?}");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);

        fs::create_dir_all(host.path(&format!("{folder}/s1"))).unwrap();
        assert_failed(&host.perform(&shell, &remove(1, true), None), "not removed it in time");
        assert_eq!(host.names(DIRECTORY), ["10-calico.conflist"]);
        wait_until("the timer ends", Duration::from_secs(10), || host.processes().is_empty());
    }
}
