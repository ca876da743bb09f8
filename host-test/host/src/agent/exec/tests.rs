use std::path::Path;

use super::super::message::tests::hello;
use super::super::{Fault, MAX_ANSWER_BYTES};
use super::*;

/// Reads the ids of messages, in the shell.
const ID: &str = r#"id() { read -r line && id=${line#*'"id":"'} && id=${id%%'"'*}; };"#;

fn start(command: &str) -> ExecAgent {
    ExecAgent::start(
        &format!("{ID} {command}"),
        None,
        Environment::default(),
        Clock::new(),
    )
}

fn replies(text: &str) -> String {
    format!(r#"echo "{{\"in_reply_to\":\"$id\",\"text\":\"{text}\"}}""#)
}

async fn text(agent: &ExecAgent, id: &str) -> Result<Option<String>, AgentError> {
    let reply = agent.answer(&hello(id), &Progress::nowhere()).await?;
    Ok(reply.and_then(|reply| reply.text))
}

fn said(text: &str) -> Result<Option<String>, AgentError> {
    Ok(Some(text.to_owned()))
}

#[tokio::test]
async fn lines_go_in_and_answers_come_out() {
    let agent = start(&format!("while id; do {}; done", replies("hi $id")));
    for id in ["1", "9007199254740995", "3"] {
        assert_eq!(text(&agent, id).await, said(&format!("hi {id}")));
    }
}

#[tokio::test]
async fn an_answer_without_content_acknowledges() {
    let agent = start(r#"while id; do echo "{\"in_reply_to\":\"$id\"}"; done"#);
    assert_eq!(text(&agent, "1").await, Ok(None));
}

#[tokio::test]
async fn answers_come_in_any_order() {
    let (a, b) = (replies("for $id"), replies("late for $id"));
    let agent = start(&format!(
        "id; one=$id; id; {a}; id=$one; {b}; while id; do :; done"
    ));
    let (one, two) = tokio::join!(text(&agent, "1"), text(&agent, "2"));
    assert_eq!(one, said("late for 1"));
    assert_eq!(two, said("for 2"));
}

#[tokio::test]
async fn many_messages_are_under_way_at_once() {
    // It answers only when it has read them all, and they are more than a pipe holds.
    let agent = start(&format!(
        "n=0; while [ $n -lt 500 ]; do id; ids=\"$ids $id\"; n=$((n+1)); done; for id in $ids; do {}; done; cat",
        replies("$id")
    ));
    let ids: Vec<String> = (0..500).map(|id| id.to_string()).collect();
    let all = futures::future::join_all(ids.iter().map(|id| text(&agent, id))).await;
    for (id, answer) in ids.iter().zip(all) {
        assert_eq!(answer, said(id));
    }
}

#[tokio::test]
async fn an_account_never_gets_the_answer_to_another_s_message_of_the_same_id() {
    // It answers the first message when it has read a second one.
    let agent = start(&format!(
        "id; first=$id; id; id=$first; {}; id; {}; cat",
        replies("for the first"),
        replies("for the other account")
    ));
    let mut other = hello("1");
    other.account = "bot0002@im.bot".to_owned();
    let progress = Progress::nowhere();
    let mut first = Box::pin(text(&agent, "1"));
    assert!((&mut first).now_or_never().is_none());
    let refused = agent.answer(&other, &progress).await;
    assert_eq!(refused, Err(AgentError::SameId));
    assert_eq!(AgentError::SameId.fault(), Fault::Outage);
    let mut second = Box::pin(text(&agent, "2"));
    assert!((&mut second).now_or_never().is_none());
    assert_eq!(first.await, said("for the first"));
    let answer = agent.answer(&other, &progress).await.unwrap().unwrap();
    assert_eq!(answer.text.as_deref(), Some("for the other account"));
}

#[tokio::test]
async fn lines_of_progress_are_said_as_they_arrive() {
    let says = |text: &str| {
        format!(r#"echo "{{\"in_reply_to\":\"$id\",\"text\":\"{text}\",\"progress\":true}}""#)
    };
    // The answer waits until the progress was heard.
    let folder = tempfile::tempdir().unwrap();
    let heard = folder.path().join("heard");
    let agent = start(&format!(
        "id; {}; {}; until [ -e '{}' ]; do sleep 0.01; done; {}; id",
        says("looking"),
        says("found"),
        heard.display(),
        replies("done")
    ));
    let (progress, mut said) = Progress::new();
    let listen = async {
        for expected in ["looking", "found"] {
            assert_eq!(said.recv().await.unwrap().text, expected);
        }
        std::fs::write(&heard, "").unwrap();
    };
    let message = hello("1");
    let (reply, ()) = tokio::join!(agent.answer(&message, &progress), listen);
    assert_eq!(reply.unwrap().unwrap().text.as_deref(), Some("done"));
}

#[tokio::test]
async fn lines_that_make_no_sense_are_skipped() {
    let agent = start(&format!(
        r#"while id; do echo; echo nonsense; echo '{{"text":"x"}}'; echo '{{"in_reply_to":"9","text":"x"}}';
           echo "{{\"in_reply_to\":\"$id\",\"text\":\"…\",\"progress\":true}}"; {}; done"#,
        replies("hi")
    ));
    assert_eq!(text(&agent, "1").await, said("hi"));
    assert_eq!(text(&agent, "2").await, said("hi"));
}

#[tokio::test]
async fn a_process_that_ends_fails_what_it_had_and_starts_again() {
    let clock = Clock::new();
    let command = format!("{ID} id; {}; id; exit 3", replies("hi from $$"));
    let agent = ExecAgent::start(&command, None, Environment::default(), clock.clone());
    let first = text(&agent, "1").await.unwrap().unwrap();
    assert_eq!(text(&agent, "2").await, Err(AgentError::ProcessEnded));
    assert_eq!(text(&agent, "2").await, Err(AgentError::NotRunning));
    clock.advance(SHORTEST_PAUSE);
    let second = eventually(&agent, "2").await;
    assert!(second.starts_with("hi from") && second != first, "{second}");
}

#[tokio::test]
async fn last_words_before_the_end_count() {
    let agent = start(&format!("id; {}", replies("bye")));
    assert_eq!(text(&agent, "1").await, said("bye"));
}

#[tokio::test]
async fn the_pause_grows_while_it_keeps_dying() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("starts");
    let starts = || {
        std::fs::read_to_string(&log)
            .unwrap_or_default()
            .lines()
            .count()
    };
    let clock = Clock::new();
    let command = format!("echo >> '{}'", log.display());
    let agent = ExecAgent::start(&command, None, Environment::default(), clock.clone());
    // Each a new one, so that none is a suspect.
    let ids = std::cell::Cell::new(0);
    let ask = async || {
        ids.set(ids.get() + 1);
        text(&agent, &ids.get().to_string()).await
    };
    for (started, pause) in [1, 2, 4, 8, 16, 32, 60, 60].into_iter().enumerate() {
        until(|| starts() == started + 1).await;
        // Refused means that the end was noticed and the pause has begun.
        while ask().await != Err(AgentError::NotRunning) {}
        clock.advance(Duration::from_secs(pause) - Duration::from_millis(500));
        assert_eq!(ask().await, Err(AgentError::NotRunning));
        assert_eq!(starts(), started + 1);
        clock.advance(Duration::from_millis(500));
    }
}

#[tokio::test]
async fn silence_ends_after_ten_minutes() {
    let clock = Clock::new();
    let directory = tempfile::tempdir().unwrap();
    let read = directory.path().join("read");
    let command = format!("head -n 1 > '{}'; exec sleep 1000", read.display());
    let agent = ExecAgent::start(&command, None, Environment::default(), clock.clone());
    let wait = async {
        until(|| std::fs::metadata(&read).is_ok_and(|file| file.len() > 0)).await;
        clock.advance(ANSWER_TIME);
    };
    let (answer, ()) = tokio::join!(text(&agent, "1"), wait);
    assert_eq!(answer, Err(AgentError::TimedOut));
}

#[tokio::test]
async fn the_command_gets_the_umask() {
    for (umask, expected) in [(Some(0o027), "0027"), (Some(0), "0000")] {
        let command = format!("{ID} while id; do {}; done", replies("$(umask)"));
        let agent = ExecAgent::start(&command, umask, Environment::default(), Clock::new());
        assert_eq!(text(&agent, "1").await, said(expected));
    }
}

#[tokio::test]
async fn dropping_the_agent_kills_all_of_its_processes() {
    for umask in [None, Some(0o022)] {
        let command = format!("{ID} id; sleep 1000 & {}; wait", replies("$$ $!"));
        let agent = ExecAgent::start(&command, umask, Environment::default(), Clock::new());
        let numbers = text(&agent, "1").await.unwrap().unwrap();
        drop(agent);
        for number in numbers.split(' ') {
            // A process that has ended and is not yet waited for has no command line.
            let command = Path::new("/proc").join(number).join("cmdline");
            until(|| std::fs::read(&command).unwrap_or_default().is_empty()).await;
        }
    }
}

async fn eventually(agent: &ExecAgent, id: &str) -> String {
    loop {
        match text(agent, id).await {
            Ok(reply) => return reply.unwrap(),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn answers_are_read_however_they_are_written() {
    for answer in [
        r#"{"in_reply_to":"ID","text":"ok \ud83d"}"#,
        "{\n  \"in_reply_to\": \"ID\",\n  \"text\": \"ok \u{fffd}\"\n}",
        "\u{feff}{\"in_reply_to\":\"ID\",\"text\":\"ok \u{fffd}\"}",
        "\u{1b}]0;agent\u{7}\u{1b}[0m{\"in_reply_to\":\"ID\",\"text\":\"ok \u{fffd}\"}",
        "loading\n{\"in_reply_to\":\"ID\",\"text\":\"<think>hm</think>ok \u{fffd}\"}\ndone",
        "{\"cut\": \"x\n{\"in_reply_to\":\"ID\",\"text\":\"ok \u{fffd}\",\"score\":NaN}",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("answer");
        std::fs::write(&file, format!("{answer}\n")).unwrap();
        let command = format!("while id; do sed \"s/ID/$id/\" '{}'; done", file.display());
        let agent = start(&command);
        for id in ["1", "2"] {
            assert_eq!(text(&agent, id).await, said("ok \u{fffd}"), "{answer}");
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_line_break_at_the_end_counts() {
    let agent = start(r#"id; printf '{"in_reply_to":"%s","text":"bye"}' "$id""#);
    assert_eq!(text(&agent, "1").await, said("bye"));
}

#[tokio::test]
async fn an_answer_that_can_t_be_read_fails_the_message_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long");
    let long = format!(
        "{{\"in_reply_to\":\"1\",\"text\":\"{}\"}}\n",
        "x".repeat(MAX_ANSWER_BYTES)
    );
    std::fs::write(&file, long).unwrap();
    let agent = start(&format!(
        "id; cat '{}'; while id; do {}; done",
        file.display(),
        replies("hi")
    ));
    for broken in [
        r#"echo "{\"in_reply_to\":\"$id\",\"text\" \"x\"}""#,
        r#"echo "{\"in_reply_to\":\"$id\",\"text\":[1]}""#,
        r#"echo "{\"in_reply_to\":\"$id\",\"text\":\"<think>hm\"}""#,
    ] {
        let agent = start(&format!("while id; do {broken}; done"));
        let error = text(&agent, "1").await.unwrap_err();
        assert_eq!(error.fault(), Fault::Final, "{error}");
    }
    let error = text(&agent, "1").await.unwrap_err();
    assert_eq!(error.fault(), Fault::Final, "{error}");
    assert_eq!(text(&agent, "2").await, said("hi"));
}

/// Moves the clock on until the answer is there.
async fn in_time(clock: &Clock, agent: &ExecAgent, id: &str) -> Result<Option<String>, AgentError> {
    let answer = text(agent, id);
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                clock.advance(Duration::from_millis(100));
            }
        }
    }
}

#[tokio::test]
async fn the_message_that_it_ended_on_is_tried_alone_and_the_others_go_on() {
    let clock = Clock::new();
    let command = format!(
        "{ID} while id; do case $id in 7) exit 1;; esac; {}; done",
        replies("$id from $$")
    );
    let agent = ExecAgent::start(&command, None, Environment::default(), clock.clone());
    let (bad, other) = tokio::join!(text(&agent, "7"), text(&agent, "8"));
    assert_eq!(bad, Err(AgentError::ProcessEnded));
    assert!(other.is_err());
    clock.advance(SHORTEST_PAUSE);
    let first = eventually(&agent, "8").await;
    for _ in 0..3 {
        let mut bad = Err(AgentError::NotRunning);
        while bad == Err(AgentError::NotRunning) {
            bad = in_time(&clock, &agent, "7").await;
        }
        assert_eq!(bad, Err(AgentError::ProcessEndedAlone));
        // The process of the others is the same.
        let again = eventually(&agent, "8").await;
        assert_eq!(again, first);
    }
}

#[tokio::test]
async fn a_program_that_runs_once_only_gets_its_suspects_back() {
    let clock = Clock::new();
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lock");
    // The second process ends at once; the message is answered when it comes again.
    let command = format!(
        "{ID} mkdir '{lock}' || exit 3; trap \"rmdir '{lock}'\" EXIT; id; [ -e '{lock}.seen' ] || {{ echo > '{lock}.seen'; exit 1; }}; {}; while id; do :; done",
        replies("at last"),
        lock = lock.display(),
    );
    let agent = ExecAgent::start(&command, None, Environment::default(), clock.clone());
    assert_eq!(text(&agent, "1").await, Err(AgentError::ProcessEnded));
    let mut answer = Err(AgentError::NotRunning);
    while answer == Err(AgentError::NotRunning) {
        answer = in_time(&clock, &agent, "1").await;
    }
    assert_eq!(answer, said("at last"));
}
