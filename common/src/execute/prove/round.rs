//! One question after another is too slow for a cluster: all that one place is to ask goes in one command.

use crate::cluster::{Cluster, ExecRequest};
use crate::plan::ebpf::Question;

/// The script, as the shell of calico-node's image reads it.
const SCRIPT: &str = include_str!("ask.sh");
/// A question has 3 s; many are asked at once, and the command has to get there.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
/// Bytes of its answer: a short line per question.
const ANSWER: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// What a person calls it: `default/kubernetes`.
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) question: Question,
}

/// A container from which is asked.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pod: String,
    pub(super) container: String,
}

/// Which of the questions were answered, in their order; or why nothing could be asked.
pub(super) async fn ask(
    cluster: &Cluster,
    place: &Place,
    questions: &[Asked],
) -> Result<Vec<bool>, String> {
    let words: Vec<String> = questions.iter().flat_map(words_of).collect();
    let mut command = vec!["/bin/bash", "-s", "--"];
    command.extend(words.iter().map(String::as_str));
    let request = ExecRequest {
        namespace: &place.namespace,
        pod: &place.pod,
        container: &place.container,
        command: &command,
        stdin: Some(SCRIPT.as_bytes()),
        limit_bytes: ANSWER,
        timeout: LIMIT,
    };
    let output = cluster.exec(&request).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text, questions.len()).ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next_back().unwrap_or("no answer");
        format!("asking from {}/{} failed: {said}", place.namespace, place.pod)
    })
}

fn words_of(asked: &Asked) -> [String; 3] {
    let how = match asked.question {
        Question::Tcp => "tcp",
        Question::Dns => "dns",
    };
    [how.to_owned(), asked.address.clone(), asked.port.to_string()]
}

/// The answers; none when the script did not come to its end.
fn read(text: &str, count: usize) -> Option<Vec<bool>> {
    let mut answers = vec![false; count];
    let mut ended = false;
    for line in text.lines() {
        if line == "end" {
            ended = true;
        } else if let Some(number) = line.strip_suffix(" ok") {
            *answers.get_mut(number.parse::<usize>().ok()?)? = true;
        }
    }
    ended.then_some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_counts() {
        assert_eq!(read("1 ok\n0 ok\nend\n", 3), Some(vec![true, true, false]));
        assert_eq!(read("end\n", 1), Some(vec![false]));
        for text in ["0 ok\n", "", "7 ok\nend\n", "x ok\nend\n", "-1 ok\nend\n"] {
            assert_eq!(read(text, 2), None, "{text:?}");
        }
    }
}
