//! Changes of objects as plans hold them: JSON patches (RFC 6902) whose tests travel with the write, and what such a patch
//! means for the object as it is now.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A JSON patch of the operations that a plan needs. Serialises as RFC 6902 says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonPatch(pub Vec<PatchOperation>);

/// One operation. Paths are JSON pointers (RFC 6901); [`pointer`] makes one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Nothing is changed unless this value stands there. Null means that nothing may stand there.
    Test {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Puts a value there, whatever stood there. A path that ends in `/-` means behind the last element of a list.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes away what stands there. An element of a list is known by the tests of its fields, wherever it stands by now.
    Remove {
        /// Where.
        path: String,
    },
}

use PatchOperation::{Add, Remove, Test};

/// What a patch means for an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aim {
    /// The object already is as the patch would make it.
    AlreadyRight,
    /// This is to be sent: the patch, fitted to where things stand in the object.
    Ready(JsonPatch),
    /// The object is not what the patch was made for, for this reason.
    Refused(String),
}

/// The JSON pointer of these members, escaped.
pub fn pointer(members: &[&str]) -> String {
    let escaped = members.iter().map(|it| it.replace('~', "~0").replace('/', "~1"));
    escaped.fold(String::new(), |path, member| path + "/" + &member)
}

impl JsonPatch {
    /// The patch, and with it what turns `from` into `to` at `path`; none means that nothing stands there. It changes
    /// nothing unless `from` still stands there. Swapped, the two make the undo.
    #[must_use]
    pub fn change(mut self, path: &str, from: Option<Value>, to: Option<Value>) -> Self {
        let path = path.to_owned();
        self.0.push(Test { path: path.clone(), value: from.unwrap_or(Value::Null) });
        self.0.push(match to {
            Some(value) => Add { path, value },
            None => Remove { path },
        });
        self
    }

    /// The patch, and with it a test.
    #[must_use]
    pub fn test(mut self, path: &str, value: Value) -> Self {
        self.0.push(Test { path: path.to_owned(), value });
        self
    }

    /// The patch with the tests that the object still is exactly the one that was looked at.
    #[must_use]
    pub fn only_for(mut self, uid: &str, resource_version: &str) -> Self {
        let tests = [("uid", uid), ("resourceVersion", resource_version)];
        let tests = tests.map(|(name, is)| Test {
            path: pointer(&["metadata", name]),
            value: Value::String(is.to_owned()),
        });
        self.0.splice(..0, tests);
        self
    }

    /// What the patch means for `object`. It is right already when every change of it is: then its tests, which tell what
    /// stood there before, need not hold.
    pub fn aim(&self, object: &Value) -> Aim {
        let found = match self.found_in(object) {
            Ok(found) => found,
            Err(why) => return Aim::Refused(why),
        };
        let right = |operation: &PatchOperation| is_right(operation, object);
        if found.0.iter().all(|it| matches!(it, Test { .. }) || right(it)) {
            return Aim::AlreadyRight;
        }
        let wrong = found.0.iter().find_map(|it| match it {
            Test { path, value } => mismatch(object, path, value),
            _ => None,
        });
        match wrong {
            Some(why) => Aim::Refused(why),
            None => Aim::Ready(found.fitted(object)),
        }
    }

    /// The patch with every element of a list that it takes away looked up by the tests of that element's fields. What
    /// is not in the list any more drops out, and its tests with it.
    fn found_in(&self, object: &Value) -> Result<Self, String> {
        let mut patch = self.clone();
        for operation in &self.0 {
            let Remove { path } = operation else { continue };
            let Some((list, index)) = path.rsplit_once('/') else { continue };
            let is_index = !index.is_empty() && index.bytes().all(|it| it.is_ascii_digit());
            let elements = match object.pointer(list) {
                Some(Value::Array(elements)) => elements.as_slice(),
                // The whole list may have gone with its last element.
                None if is_index => &[],
                _ => continue,
            };
            let below = format!("{path}/");
            let tests: Vec<(&str, &Value)> = self
                .0
                .iter()
                .filter_map(|it| match it {
                    Test { path, value } => Some((path.strip_prefix(below.as_str())?, value)),
                    _ => None,
                })
                .collect();
            if tests.is_empty() {
                return Err(format!("nothing tells which element of {list} is meant"));
            }
            let is_meant = |element: &Value| {
                tests.iter().all(|(field, is)| element.pointer(&format!("/{field}")) == Some(*is))
            };
            match elements.iter().position(is_meant) {
                Some(index) => patch.relocate(path, &format!("{list}/{index}")),
                None => {
                    patch.0.retain(|it| it.path() != path && !it.path().starts_with(&below));
                }
            }
        }
        Ok(patch)
    }

    fn relocate(&mut self, from: &str, to: &str) {
        for operation in &mut self.0 {
            let path = operation.path_mut();
            match path.strip_prefix(from) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                    *path = format!("{to}{rest}");
                }
                _ => {}
            }
        }
    }

    /// What can be sent: without tests of absence, which RFC 6902 does not know, without removals of what is gone, and
    /// with the parents that an addition needs.
    fn fitted(self, object: &Value) -> Self {
        let mut out: Vec<PatchOperation> = Vec::new();
        for operation in self.0 {
            match &operation {
                Test { value: Value::Null, .. } => continue,
                Remove { path } if object.pointer(path).is_none() => continue,
                Add { path, .. } => {
                    for parent in missing_parents(object, path) {
                        let made =
                            out.iter().any(|it| matches!(it, Add { path, .. } if *path == parent));
                        if !made {
                            let is_list = path == &format!("{parent}/-");
                            let value = if is_list { json!([]) } else { json!({}) };
                            out.push(Add { path: parent, value });
                        }
                    }
                }
                _ => {}
            }
            out.push(operation);
        }
        Self(out)
    }

    /// What it changes, without its tests.
    pub fn changes(&self) -> impl Iterator<Item = &PatchOperation> {
        self.0.iter().filter(|it| !matches!(it, Test { .. }))
    }
}

impl PatchOperation {
    /// Where it looks or changes something.
    pub fn path(&self) -> &str {
        match self {
            Test { path, .. } | Add { path, .. } | Remove { path } => path,
        }
    }

    fn path_mut(&mut self) -> &mut String {
        match self {
            Test { path, .. } | Add { path, .. } | Remove { path } => path,
        }
    }
}

fn is_right(operation: &PatchOperation, object: &Value) -> bool {
    match operation {
        Test { .. } => true,
        Remove { path } => object.pointer(path).is_none(),
        Add { path, value } => match path.strip_suffix("/-") {
            Some(list) => object
                .pointer(list)
                .and_then(Value::as_array)
                .is_some_and(|elements| elements.contains(value)),
            None => object.pointer(path) == Some(value),
        },
    }
}

/// Why a test does not hold; a missing value and null are one.
fn mismatch(object: &Value, path: &str, expected: &Value) -> Option<String> {
    let found = object.pointer(path).unwrap_or(&Value::Null);
    let shown = |value: &Value| match value {
        Value::Null => "absent".to_owned(),
        value => value.to_string(),
    };
    (found != expected).then(|| format!("{path} is {}, not {}", shown(found), shown(expected)))
}

/// Objects above `path` that do not exist, the outermost first.
fn missing_parents(object: &Value, path: &str) -> Vec<String> {
    let ends = path.char_indices().filter(|(at, letter)| *letter == '/' && *at > 0);
    let above = ends.map(|(at, _)| path[..at].to_owned());
    above.filter(|parent| object.pointer(parent).is_none()).collect()
}

#[cfg(test)]
#[path = "patch_tests.rs"]
mod tests;
