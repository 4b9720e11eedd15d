//! Many pods against a server that is quick, busy, broken, forbidding, or guarded by budgets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::cluster::test_server::{Asked, Reply, TestServer};
use crate::execute::StopSwitch;

const DELETE: Wish = Wish::Delete { grace_seconds: None };

fn pods(count: usize) -> Vec<PodRef> {
    let pod = |n: usize| PodRef {
        namespace: "shop".into(),
        name: format!("web-{n}"),
        uid: format!("u{n}"),
    };
    (0..count).map(pod).collect()
}

fn quick() -> Patience {
    Patience {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(50),
        limit: Duration::from_millis(400),
        budget_pause: Duration::from_millis(20),
    }
}

fn ok() -> Reply {
    Reply::Body(200, "{}".into())
}

struct Said {
    ended: Result<Performed, PerformError>,
    requests: BTreeMap<String, usize>,
    last: String,
}

async fn farewell(
    count: usize,
    wish: Wish,
    answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
) -> Said {
    let server = TestServer::start(answer).await;
    let cluster = server.cluster(Duration::from_secs(5)).await;
    let (_switch, stop) = StopSwitch::new();
    let underway = Underway::new(&stop);
    let heard = underway.heard();
    let all = pods(count);
    let farewell = Farewell::new(&cluster, wish, &underway).with_patience(quick());
    let ended = farewell.to(&all, 4).await;
    let mut requests = BTreeMap::new();
    for line in server.lines() {
        *requests.entry(line).or_default() += 1;
    }
    let last = heard.borrow().clone();
    Said { ended, requests, last }
}

#[tokio::test]
async fn each_is_asked_once_and_never_too_many_at_a_time() {
    let (under_way, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (under_way.clone(), most.clone());
    let said = farewell(50, DELETE, move |_, _| {
        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        now.fetch_sub(1, Ordering::SeqCst);
        ok()
    })
    .await;
    assert_eq!(said.ended, Ok(Performed::Acted));
    assert!(said.requests.len() == 50 && said.requests.values().all(|times| *times == 1));
    assert!(most.load(Ordering::SeqCst) <= 4);
    assert!(said.last.ends_with(" of 50 deleted"), "{}", said.last);
}

#[tokio::test]
async fn what_is_gone_needs_no_farewell() {
    let gone = r#"{"message":"not found","details":{"name":"x"}}"#;
    let said = farewell(3, DELETE, move |_, _| Reply::Body(404, gone.into())).await;
    assert_eq!(said.ended, Ok(Performed::AlreadyRight("all are gone already".into())));
    let said = farewell(3, DELETE, move |number, _| match number {
        0 => Reply::Body(404, gone.into()),
        _ => ok(),
    })
    .await;
    assert_eq!(said.ended, Ok(Performed::Acted));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_later() {
    for busy in [429, 500, 503] {
        let said = farewell(20, DELETE, move |number, _| match number % 2 {
            0 if number < 12 => Reply::Body(busy, r#"{"message":"not now"}"#.into()),
            _ => ok(),
        })
        .await;
        assert_eq!(said.ended, Ok(Performed::Acted), "{busy}");
        assert_eq!(said.requests.values().sum::<usize>(), 26, "{busy}");
    }
    let lost = farewell(5, DELETE, |number, _| if number < 3 { Reply::Close } else { ok() }).await;
    assert_eq!(lost.ended, Ok(Performed::Acted));
}

#[tokio::test]
async fn a_server_that_asks_to_slow_down_is_left_in_peace_by_all() {
    let refused_at = Arc::new(Mutex::new(None));
    let early = Arc::new(AtomicUsize::new(0));
    let (at, too_early) = (refused_at.clone(), early.clone());
    let patience = Patience { longest_pause: Duration::from_millis(300), ..quick() };
    let server = TestServer::start(move |number, _| {
        let mut at = at.lock().unwrap();
        if number == 4 {
            *at = Some(Instant::now());
            return Reply::With(429, "Retry-After: 1", "{}".into());
        }
        // Those that were under way already come in within a moment.
        let waited = at.map(|at| at.elapsed());
        let is_early =
            |it: Duration| it > Duration::from_millis(100) && it < Duration::from_millis(250);
        if waited.is_some_and(is_early) {
            too_early.fetch_add(1, Ordering::SeqCst);
        }
        ok()
    })
    .await;
    let cluster = server.cluster(Duration::from_secs(5)).await;
    let (_switch, stop) = StopSwitch::new();
    let underway = Underway::new(&stop);
    let farewell = Farewell::new(&cluster, DELETE, &underway).with_patience(patience);
    let began = Instant::now();
    assert_eq!(farewell.to(&pods(40), 4).await, Ok(Performed::Acted));
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((early.load(Ordering::SeqCst), server.lines().len()), (0, 41));
}

#[tokio::test]
async fn what_stays_broken_is_given_up_and_told() {
    let said = farewell(6, DELETE, |_, asked| {
        if asked.line.ends_with("web-3") {
            Reply::Body(500, r#"{"message":"the webhook is down"}"#.into())
        } else {
            ok()
        }
    })
    .await;
    let Err(PerformError::Rejected(why)) = said.ended else { panic!("{:?}", said.ended) };
    assert!(why.starts_with("5 of 6 deleted; ") && why.contains("the webhook is down"), "{why}");
    assert!(said.requests["DELETE /api/v1/namespaces/shop/pods/web-3"] > 3);
    let lost = farewell(1, DELETE, |_, _| Reply::Close).await;
    assert!(matches!(lost.ended, Err(PerformError::Unclear(_))), "{:?}", lost.ended);
}

#[tokio::test]
async fn who_is_not_let_does_not_knock_three_thousand_times() {
    let forbidden = r#"{"message":"jane cannot delete pods"}"#;
    let said = farewell(300, DELETE, move |_, _| Reply::Body(403, forbidden.into())).await;
    let Err(PerformError::Rejected(why)) = said.ended else { panic!("{:?}", said.ended) };
    assert!(why.starts_with("0 of 300 deleted") && why.contains("jane cannot"), "{why}");
    assert!(said.requests.len() <= 4, "{:?}", said.requests);
}

#[tokio::test]
async fn the_wish_to_stop_ends_it_between_two_requests() {
    let (switch, stop) = StopSwitch::new();
    let switch = Mutex::new(Some(switch));
    let server = TestServer::start(move |number, _| {
        if number == 10 {
            switch.lock().unwrap().as_ref().unwrap().stop();
        }
        ok()
    })
    .await;
    let cluster = server.cluster(Duration::from_secs(5)).await;
    let underway = Underway::new(&stop);
    let farewell = Farewell::new(&cluster, DELETE, &underway).with_patience(quick());
    let ended = farewell.to(&pods(300), 4).await;
    let Err(PerformError::Stopped(how_far)) = ended else { panic!("{ended:?}") };
    let asked = server.lines().len();
    assert!(asked < 20, "{asked}");
    assert_eq!(
        how_far,
        format!("{asked} of 300 deleted"),
        "every request that was sent was heard out"
    );
}

const BUDGET: &str = r#"{"message":"Cannot evict pod","details":{"causes":[{"reason":"DisruptionBudget","message":"The disruption budget web needs 2 healthy pods and has 2 currently"}]}}"#;

#[tokio::test]
async fn a_budget_delays_only_its_own_pods() {
    let evict = Wish::Evict { grace_seconds: None, within: Duration::from_secs(5) };
    let refusals = Arc::new(AtomicUsize::new(0));
    let said = farewell(8, evict, move |_, asked| {
        let guarded = asked.line.contains("web-1/");
        if guarded && refusals.fetch_add(1, Ordering::SeqCst) < 3 {
            Reply::Body(429, BUDGET.into())
        } else {
            Reply::Body(201, "{}".into())
        }
    })
    .await;
    assert_eq!(said.ended, Ok(Performed::Acted));
    let times: Vec<usize> = said.requests.values().copied().collect();
    assert_eq!(times, [1, 4, 1, 1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn a_budget_that_never_yields_is_named() {
    let evict = Wish::Evict { grace_seconds: None, within: Duration::from_millis(100) };
    let said = farewell(3, evict, |_, asked| {
        if asked.line.contains("web-1/") { Reply::Body(429, BUDGET.into()) } else { ok() }
    })
    .await;
    let why = "2 of 3 evicted; disruption budgets keep 1 pod: shop/web-1: The disruption budget web \
               needs 2 healthy pods and has 2 currently";
    assert_eq!(said.ended, Err(PerformError::Rejected(why.into())));
}
