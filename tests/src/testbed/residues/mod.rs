//! A node that Calico has left, or that looks as if: seeded residues, look-alikes, and a node with neither.
//!
//! All of it is done to a leased node, and undone when the guard is dropped, or by the next one to lease the node.

mod calicos;
mod look_alikes;
mod object;
mod rules;

use super::Testbed;
use super::bpf_object;
use super::error::Error;
use super::node::Node;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// While a node has this label, no calico-node runs there (standin/calico.yaml).
const WITHOUT_CALICO: &str = "testbed/without-calico";
/// What scripts and rules need lies here while a node is being seeded.
const FOLDER: &str = "/run/testbed/residues";
/// Is there from the first seeding to the last clearing.
const MARKER: &str = "/run/testbed/residues-seeded";
/// Nodes of a machine with cgroup v1 have no cgroup v2 mounted, where hosts with systemd have one. Without it nobody can say
/// which programs are attached to cgroups, and no scan is complete.
const CGROUPS: &str = "/run/testbed/cgroup2";
const MOUNT: &str =
    r#"grep -q " cgroup2 " /proc/mounts || { mkdir -p "$1" && mount -t cgroup2 cgroup2 "$1"; }"#;
const UNMOUNT: &str = r#"! grep -q " $1 " /proc/mounts || umount "$1""#;
/// Tables and their own chains come into being by the first rule, and stay.
const TOUCH_TABLES: &str = r#"for program in iptables-nft ip6tables-nft iptables-legacy ip6tables-legacy; do
  for place in filter:INPUT filter:FORWARD filter:OUTPUT nat:PREROUTING nat:INPUT nat:OUTPUT nat:POSTROUTING raw:PREROUTING raw:OUTPUT \
    mangle:PREROUTING mangle:INPUT mangle:FORWARD mangle:OUTPUT mangle:POSTROUTING; do
    "$program" -w -t "${place%:*}" -A "${place#*:}" -m mark --mark 0x7e57
    "$program" -w -t "${place%:*}" -D "${place#*:}" -m mark --mark 0x7e57
  done
done"#;
const WORDS: &str = include_str!("../../../testbed/residues/words.sh");
const CLEAR: &str = include_str!("../../../testbed/residues/clear.sh");
/// Files of rules, for `rules`.
const RULES: [(&str, &str); 3] = [
    ("felix.rules", include_str!("../../../testbed/residues/felix.rules")),
    ("felix-v1.rules", include_str!("../../../testbed/residues/felix-v1.rules")),
    ("admin.rules", include_str!("../../../testbed/residues/admin.rules")),
];
/// BPF programs, and what they return: TC_ACT_OK, XDP_PASS, and for sockets "go on".
const PROGRAMS: [(&str, i32); 6] = [
    ("cali_tc_main", 0),
    ("cali_xdp_main", 2),
    ("calico_connect_", 1),
    ("calico_sendmsg_", 1),
    ("admin_tc", 0),
    ("admin_xdp", 2),
];
/// How long calico-node may take to go or to come.
const LIMIT: Duration = Duration::from_secs(90);
/// A seeding runs a few hundred programs.
const SEED_LIMIT: Duration = Duration::from_secs(120);

/// Something on a node: what it is called, where a scan prints names as its ids, and the shell line that makes it.
///
/// POOL stands for the first two numbers of the pod addresses, ADDRESS for the node's address, PEER for another node's,
/// GATEWAY for the machine's, CONTAINER for the id of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item(&'static [&'static str], &'static str);

/// A node from which Calico has been kept away, and what was put there instead. Dropped, the node becomes as it was.
#[derive(Debug)]
#[must_use = "the node is put right when this is dropped"]
pub struct Abandoned<'a> {
    testbed: &'a Testbed,
    node: Node,
    is_over: bool,
}

impl Testbed {
    /// Keeps calico-node off a node and clears all of Calico from it: files, devices, rules, the Node's annotations and
    /// condition. Pods of the node go on with what they have. The Node becomes NotReady unless another CNI is seeded.
    pub fn abandon(&self, node: &Node) -> Result<Abandoned<'_>, Error> {
        let abandoned = Abandoned { testbed: self, node: node.clone(), is_over: false };
        node.script("touch \"$1\"", &[MARKER])?;
        self.kubectl(&[
            "label",
            "node",
            node.name(),
            &format!("{WITHOUT_CALICO}=true"),
            "--overwrite",
        ])?;
        super::wait::wait_until("calico-node leaves the node", LIMIT, || {
            match super::repair::calico_node_field(self, node, "{.items[*].metadata.name}") {
                Ok(left) if left.is_empty() => Ok(()),
                Ok(left) => Err(left),
                Err(error) => Err(error.to_string()),
            }
        })?;
        self.wait_spread()?;
        clear(node)?;
        self.forget_calico(node)?;
        self.mount_cgroups(node)?;
        Ok(abandoned)
    }

    /// Mounts what hosts with systemd have: without it no scan is complete. [`Testbed::unmount_cgroups`] takes it away.
    pub fn mount_cgroups(&self, node: &Node) -> Result<(), Error> {
        node.script(MOUNT, &[CGROUPS]).map(drop)
    }

    /// Takes away what [`Testbed::mount_cgroups`] mounted.
    pub fn unmount_cgroups(&self, node: &Node) -> Result<(), Error> {
        node.script(UNMOUNT, &[CGROUPS]).map(drop)
    }

    /// Waits until the DaemonSet's controller has counted the nodes anew.
    fn wait_spread(&self) -> Result<(), Error> {
        let counts = "{.metadata.generation} {.status.observedGeneration} {.status.desiredNumberScheduled} {.status.currentNumberScheduled}";
        let namespace = format!("--namespace={}", self.calico_namespace());
        let set = ["daemonset", "calico-node", &namespace];
        super::wait::wait_until("calico-node is spread", LIMIT, || {
            let seen = self.field(&set, counts).map_err(|error| error.to_string())?;
            let numbers: Vec<&str> = seen.split(' ').collect();
            if numbers.len() == 4 && numbers[0] == numbers[1] && numbers[2] == numbers[3] {
                Ok(())
            } else {
                Err(seen)
            }
        })
    }

    /// Whether [`Testbed::abandon`] is in force on the node, and if so ends it.
    pub(super) fn end_abandonment(&self, node: &Node) -> Result<(), Error> {
        if !node.has(MARKER)? {
            return Ok(());
        }
        clear(node)?;
        self.unmount_cgroups(node)?;
        self.forget_calico(node)?;
        self.kubectl(&["label", "node", node.name(), &format!("{WITHOUT_CALICO}-")])?;
        node.remove(MARKER)
    }

    /// A kubeconfig as install-cni writes it, with a token that has expired.
    fn expired_kubeconfig(&self) -> Result<String, Error> {
        let path = self.layout().pki().join("ca.crt");
        let ca =
            std::fs::read(&path).map_err(|source| Error::File { what: "read", path, source })?;
        let (ca, server) = (STANDARD.encode(ca), self.layout().server());
        let token = self.expired_token()?;
        Ok(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: local\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
             users:\n- name: calico\n  user:\n    token: {token}\ncontexts:\n- name: calico-context\n  context: {{cluster: local, user: calico}}\n\
             current-context: calico-context\n"
        ))
    }

    fn words(&self, node: &Node, text: &str) -> String {
        let peer = self.nodes().iter().find(|it| it.name() != node.name());
        let cidr = self.layout().pod_cidr();
        let pool: Vec<&str> = cidr.split('.').take(2).collect();
        let address = |node: &Node| node.address().to_string();
        text.replace("POOL", &pool.join("."))
            .replace("ADDRESS", &address(node))
            .replace("PEER", &peer.map(address).unwrap_or_default())
            .replace("GATEWAY", &self.layout().gateway().to_string())
            .replace("CONTAINER", &"c0ffee".repeat(10))
    }

    fn make(&self, node: &Node, items: &[Item]) -> Result<(), Error> {
        self.hand_over(node)?;
        // A script that fails names the item that it was at.
        let trap = "set -e\ntrap '[ $? = 0 ] || echo \"while making: $item\" >&2' EXIT";
        let mut script = format!("{WORDS}\n{trap}\ncd {FOLDER}\n");
        for Item(names, line) in items {
            let (name, line) = (names.join(" "), self.words(node, line));
            script.push_str(&format!("item='{}'\n{line}\n", name.replace('\'', "")));
        }
        script.push_str("item='the end'\nsettled\n");
        node.command(&["/bin/bash", "-s"])?.input(script).limit(SEED_LIMIT).check()?;
        node.script("rm -rf \"$1\"", &[FOLDER]).map(drop)
    }

    fn names_of(&self, node: &Node, items: &[Item]) -> Vec<String> {
        let names = items.iter().flat_map(|item| item.0);
        let expanded =
            names.flat_map(|name| rules::names(name).unwrap_or_else(|| vec![(*name).to_owned()]));
        expanded.map(|name| self.words(node, &name)).collect()
    }

    /// Puts what the lines need into [`FOLDER`].
    fn hand_over(&self, node: &Node) -> Result<(), Error> {
        node.script("mkdir -p \"$1\"", &[FOLDER])?;
        for (file, text) in RULES {
            node.write(&format!("{FOLDER}/{file}"), text.as_bytes(), "0644")?;
        }
        for (name, answer) in PROGRAMS {
            let object = bpf_object::returning(name, answer);
            node.write(&format!("{FOLDER}/{name}.o"), &object, "0644")?;
        }
        let kubeconfig = self.expired_kubeconfig()?;
        node.write(&format!("{FOLDER}/calico-kubeconfig"), kubeconfig.as_bytes(), "0600")
    }
}

/// A node on which Calico lives, and on which more of Calico was put. Dropped, the node becomes as it was.
#[derive(Debug)]
#[must_use = "the node is put right when this is dropped"]
pub struct Beside<'a> {
    testbed: &'a Testbed,
    node: Node,
    is_over: bool,
}

impl Testbed {
    /// Makes a node, on which Calico goes on, ready for residues of another mode: what iptables makes by its first rule is there.
    pub fn beside(&self, node: &Node) -> Result<Beside<'_>, Error> {
        let beside = Beside { testbed: self, node: node.clone(), is_over: false };
        node.script("touch \"$1\"", &[MARKER])?;
        node.script(MOUNT, &[CGROUPS])?;
        node.script(TOUCH_TABLES, &[])?;
        Ok(beside)
    }
}

impl Beside<'_> {
    /// Leaves what is named, and returns all names of it; what it needs must be named before it, or be there.
    pub fn seed(&self, names: &[&str]) -> Result<Vec<String>, Error> {
        let all = calicos::ALL.concat();
        let is_named = |name: &str| all.iter().find(|item| item.0.contains(&name)).copied();
        let items: Vec<Item> = names.iter().filter_map(|name| is_named(name)).collect();
        if items.len() != names.len() {
            return Err(Error::Missing(format!("one of {names:?} is no residue")));
        }
        self.testbed.make(&self.node, &items)?;
        Ok(self.testbed.names_of(&self.node, &items))
    }

    /// Clears all of Calico from the node and lets it come back; says if that fails.
    pub fn end(mut self) -> Result<(), Error> {
        self.heal()
    }

    fn heal(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        self.testbed.repair_node(&self.node)
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        // The next one to lease the node repairs what this could not.
        drop(self.heal());
    }
}

impl Abandoned<'_> {
    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Leaves on the node everything that Calico leaves, as far as this kernel has it, and returns the names.
    pub fn seed(&self) -> Result<Vec<String>, Error> {
        let items = calicos::ALL.concat();
        self.testbed.make(&self.node, &items)?;
        let mut names = self.names(&items);
        names.extend(self.testbed.remember_calico(&self.node)?);
        Ok(names)
    }

    /// Leaves some of it, by name; what it needs (a link for a route, a set for a rule) must be named before it.
    pub fn seed_only(&self, names: &[&str]) -> Result<(), Error> {
        let all = calicos::ALL.concat();
        let named = |name: &&str| {
            all.iter()
                .find(|item| item.0.iter().any(|it| self.testbed.words(&self.node, it) == **name))
                .copied()
        };
        let items: Vec<Item> = names.iter().filter_map(named).collect();
        if items.len() != names.len() {
            return Err(Error::Missing(format!("one of {names:?} is no residue")));
        }
        self.testbed.make(&self.node, &items)
    }

    /// Leaves only what is at the Node object, and returns the names.
    pub fn seed_object(&self) -> Result<Vec<String>, Error> {
        self.testbed.remember_calico(&self.node)
    }

    /// Fills the node with what looks like Calico's and is not, and returns what each is.
    pub fn seed_look_alikes(&self) -> Result<Vec<String>, Error> {
        self.testbed.make(&self.node, look_alikes::ALL)?;
        Ok(self.names(look_alikes::ALL))
    }

    /// Removes all that was seeded, by means of the testbed's own.
    pub fn clear(&self) -> Result<(), Error> {
        clear(&self.node)?;
        self.testbed.forget_calico(&self.node)
    }

    fn names(&self, items: &[Item]) -> Vec<String> {
        self.testbed.names_of(&self.node, items)
    }

    /// Brings Calico back; says if that fails.
    pub fn end(mut self) -> Result<(), Error> {
        self.heal()
    }

    fn heal(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        self.testbed.repair_node(&self.node)
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        // The next one to lease the node repairs what this could not.
        drop(self.heal());
    }
}

fn clear(node: &Node) -> Result<(), Error> {
    node.command(&["/bin/bash", "-s"])?.input(CLEAR).limit(SEED_LIMIT).check().map(drop)
}
