//! Roles that `--print-rbac` prints, taken apart: one user has all of a role, and for each single right there is one who has
//! all but that.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Plugin, demand};
use crate::testbed::{Error, Testbed, wait_until};

/// Marks what was made for these users.
const LABEL: &str = "kubectl-calico-tests/roles";
/// The API server knows a role a moment after it was made.
const KNOWN: Duration = Duration::from_secs(30);

/// One verb on one resource, or on one path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    verb: String,
    /// With its subresource. Empty for a path.
    resource: String,
    group: String,
    /// Names of the only objects that are meant; none means all.
    names: Vec<String>,
    path: Option<String>,
}

/// `list events`, `get leases.coordination.k8s.io/kubectl-calico`, `get /version`
impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.verb, self.path.as_deref().unwrap_or_default(), self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.names.is_empty() {
            write!(f, "/{}", self.names.join(","))?;
        }
        Ok(())
    }
}

impl Right {
    /// All rights of a role, in its order.
    pub fn of_role(role: &Value) -> Vec<Self> {
        let words = |rule: &Value, key: &str| -> Vec<String> {
            let all = rule[key].as_array().into_iter().flatten();
            all.filter_map(|it| it.as_str().map(ToOwned::to_owned)).collect()
        };
        let mut rights = Vec::new();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let names = words(rule, "resourceNames");
            let one = |verb: &String| Self {
                verb: verb.clone(),
                resource: String::new(),
                group: String::new(),
                names: names.clone(),
                path: None,
            };
            for verb in &words(rule, "verbs") {
                for path in words(rule, "nonResourceURLs") {
                    rights.push(Self { path: Some(path), ..one(verb) });
                }
                for group in &words(rule, "apiGroups") {
                    for resource in words(rule, "resources") {
                        rights.push(Self { resource, group: group.clone(), ..one(verb) });
                    }
                }
            }
        }
        rights
    }

    /// What a refusal calls it: resource or path.
    pub fn object(&self) -> &str {
        self.path.as_deref().unwrap_or(&self.resource)
    }

    /// Whether it is to read lists, or what has no resource.
    pub fn is_to_list(&self) -> bool {
        self.verb == "list" || self.path.is_some()
    }

    fn rule(&self) -> Value {
        match &self.path {
            Some(path) => json!({ "nonResourceURLs": [path], "verbs": [self.verb] }),
            None => json!({ "apiGroups": [self.group], "resources": [self.resource],
                "resourceNames": self.names, "verbs": [self.verb] }),
        }
    }

    fn is_held_by(&self, testbed: &Testbed, user: &str) -> Result<bool, Error> {
        let object = match (&self.path, self.resource.split_once('/')) {
            (Some(path), _) => path.clone(),
            (None, Some((resource, _))) => resource.to_owned(),
            (None, None) => format!("{}.{}", self.resource, self.group),
        };
        let object = object.trim_end_matches('.').to_owned();
        let object = self.names.first().map_or(object.clone(), |name| format!("{object}/{name}"));
        let mut ask = vec!["auth", "can-i", self.verb.as_str(), object.as_str(), "--as", user];
        let subresource =
            self.resource.split_once('/').map(|(_, it)| format!("--subresource={it}"));
        ask.extend(subresource.as_deref());
        Ok(testbed.kubectl_output(&ask)?.is_success())
    }
}

/// Users for a role; they and their roles are gone again in the end.
#[derive(Debug)]
pub struct Users<'a> {
    testbed: &'a Testbed,
    /// Name of the user who has the role, and beginning of the others'.
    name: String,
    /// Names of what was printed.
    printed: Vec<[String; 2]>,
    /// The role's rights.
    pub rights: Vec<Right>,
}

impl<'a> Users<'a> {
    /// Grants what these arguments and `--print-rbac` print to a user `name`, and makes for each right a user without it.
    /// `never` are rights that none of those has either.
    pub fn of_printed_role(
        testbed: &'a Testbed,
        plugin: &Plugin,
        name: &str,
        arguments: &[&str],
        never: &[&str],
    ) -> Result<Self, Error> {
        let print = [arguments, &["--print-rbac", "--bind-to", name]].concat();
        let printed = plugin.run(&print)?;
        demand(printed.code == 0, "the role is printed", &printed)?;
        let mut users =
            Self { testbed, name: name.to_owned(), printed: Vec::new(), rights: Vec::new() };
        for document in printed.stdout.split("---\n") {
            let object: Value = common::yaml::from_str(document).map_err(|error| Error::Odd {
                what: "the role".to_owned(),
                why: error.to_string(),
            })?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
            users.printed.push([text(&object["kind"]), text(&object["metadata"]["name"])]);
            users.rights.extend(Right::of_role(&object));
        }
        demand(users.rights.len() > 2, "the role has rights", &printed)?;
        testbed.apply(&printed.stdout)?;
        let is_never = |right: &Right| never.contains(&right.to_string().as_str());
        let without = |number: usize| -> Vec<Value> {
            let rights = users.rights.iter().enumerate();
            let kept = rights.filter(|(n, right)| *n != number && !is_never(right));
            kept.map(|(_, right)| right.rule()).collect()
        };
        let objects: Vec<Value> = (0..users.rights.len())
            .flat_map(|number| bound(&users.without(number), name, &without(number)))
            .collect();
        testbed
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string())?;
        users.wait_known()?;
        Ok(users)
    }

    /// The user who has the whole role.
    pub fn whole(&self) -> &str {
        &self.name
    }

    /// The user who has all of it but the right at this place.
    pub fn without(&self, place: usize) -> String {
        format!("{}-{place}", self.name)
    }

    /// What was made last is known last.
    fn wait_known(&self) -> Result<(), Error> {
        let user = self.without(self.rights.len() - 1);
        let what = format!("the API server knows the role of {user}");
        wait_until(&what, KNOWN, || match self.rights[0].is_held_by(self.testbed, &user) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it does not".to_owned()),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Users<'_> {
    fn drop(&mut self) {
        let label = format!("{LABEL}={}", self.name);
        let kinds = "clusterroles,clusterrolebindings";
        drop(self.testbed.kubectl(&["delete", kinds, "-l", &label, "--wait=false"]));
        for [kind, name] in &self.printed {
            drop(self.testbed.kubectl(&[
                "delete",
                kind,
                name,
                "--ignore-not-found",
                "--wait=false",
            ]));
        }
    }
}

/// A role with these rules, bound to a user of the same name.
fn bound(user: &str, label: &str, rules: &[Value]) -> [Value; 2] {
    let api = "rbac.authorization.k8s.io";
    let metadata = json!({ "name": user, "labels": { LABEL: label } });
    [
        json!({ "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules }),
        json!({ "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
            "roleRef": { "apiGroup": api, "kind": "ClusterRole", "name": user },
            "subjects": [{ "apiGroup": api, "kind": "User", "name": user }] }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_taken_apart_into_single_rights() {
        let role = json!({ "rules": [
            { "apiGroups": ["", "apps"], "resources": ["pods", "pods/exec"], "verbs": ["list"] },
            { "apiGroups": [""], "resources": ["namespaces"], "resourceNames": ["kube-system"], "verbs": ["get"] },
            { "nonResourceURLs": ["/version"], "verbs": ["get"] },
        ] });
        let rights = Right::of_role(&role);
        let names: Vec<String> = rights.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "list pods",
                "list pods/exec",
                "list pods.apps",
                "list pods/exec.apps",
                "get namespaces/kube-system",
                "get /version",
            ]
        );
        assert_eq!(rights[4].rule()["resourceNames"], json!(["kube-system"]));
        assert_eq!(rights[5].object(), "/version");
    }
}
