//! Listening sockets over gRPC.

use whyslow_engine::{Input, ListenerFact, ListenersFact};

use super::*;

#[tokio::test]
async fn listeners_have_their_queues() {
    let agent = Agent::start(Timing::default(), None).await;
    let fact = |length, overflows| Input::Listeners {
        pid: 7,
        fact: Some(ListenersFact {
            listeners: vec![ListenerFact {
                inode: 1,
                address: "127.0.0.1:8000".to_owned(),
                port: 8000,
                length,
            }],
            overflows,
            drops: overflows,
        }),
    };
    agent.script.send([fact(9, 100), fact(4, 103)]);
    let client = agent.client().await;
    let answer = until(
        || {
            let mut client = client.clone();
            async move {
                let request = v1::ListenersRequest { window_s: 600 };
                client.listeners(request).await.unwrap().into_inner()
            }
        },
        |answer| answer.listeners.iter().any(|one| one.length == 4),
    )
    .await;
    let [listener] = &answer.listeners[..] else {
        panic!("{answer:?}");
    };
    assert_eq!((&*listener.address, listener.pid), ("127.0.0.1:8000", 7));
    assert_eq!((listener.max_length, listener.overflows), (9, 3));
    assert_eq!((listener.limit, listener.accept_queue_known), (0, 0));
    assert!(answer.monotonic_ns > 0);
}
