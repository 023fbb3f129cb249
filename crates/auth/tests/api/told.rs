//! What roles say of recordings, to their people and to the audit log.

use model::api::roles::PutRole;

use crate::resources::role;
use crate::world::World;

#[tokio::test]
async fn what_a_role_tells_of_being_recorded_changes_with_an_event_of_its_own() {
    let world = World::new().await;
    let admin = world.admin().await;
    let with = |record: serde_json::Value| {
        let spec = serde_json::json!({"options": {"record_session": record}, "allow": {"logins": ["root"]}});
        PutRole { replace: true, ..role("guests", &spec) }
    };
    let notice = |word: &str| serde_json::json!({"notice": word});
    let said = async || {
        let all = world.events().await;
        all.into_iter().filter(|event| event["event"] == "role.notice").collect::<Vec<_>>()
    };
    let none = serde_json::json!({});
    for (record, wanted) in [
        (none.clone(), None),
        (notice("silent"), None),
        (notice("banner"), Some(("silent", "banner", "MGP001I"))),
        (notice("banner"), None),
        (notice("consent"), Some(("banner", "consent", "MGP001I"))),
        (notice("silent"), Some(("consent", "silent", "MGP001W"))),
        (notice("banner"), Some(("silent", "banner", "MGP001I"))),
        (none, Some(("banner", "silent", "MGP001W"))),
    ] {
        let before = said().await.len();
        admin.call(&with(record.clone())).await.unwrap();
        let told = said().await.get(before).map(|event| {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            assert_eq!(text("name"), "guests");
            (text("before"), text("after"), text("code"))
        });
        let wanted = wanted.map(|(b, a, c)| (b.to_owned(), a.to_owned(), c.to_owned()));
        assert_eq!(told, wanted, "{record}");
    }
    let spec = serde_json::json!({"options": {"record_session": {"notice": "silent"}}});
    admin.call(&role("quiet", &spec)).await.unwrap();
    let last = said().await.pop().unwrap();
    assert_eq!((last["before"].as_str(), last["after"].as_str()), (Some(""), Some("silent")));
}

#[tokio::test]
async fn whether_a_role_records_changes_with_an_event_of_its_own() {
    let world = World::new().await;
    let admin = world.admin().await;
    for (record, wanted) in [
        (serde_json::json!({"notice": "banner"}), None),
        (serde_json::json!({"mode": "off"}), Some(("", "off", "MGP002W"))),
        (serde_json::json!({"mode": "off", "notice": "banner"}), None),
        (serde_json::json!({"mode": "node-sync"}), Some(("off", "node-sync", "MGP002I"))),
        (serde_json::json!({}), Some(("node-sync", "", "MGP002I"))),
    ] {
        let said = async || {
            let all = world.events().await;
            all.into_iter().filter(|event| event["event"] == "role.recording").collect::<Vec<_>>()
        };
        let before = said().await.len();
        let spec = serde_json::json!({"options": {"record_session": record}, "allow": {"logins": ["root"]}});
        admin.call(&PutRole { replace: true, ..role("trusted", &spec) }).await.unwrap();
        let told = said().await.get(before).map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(text("name"), "trusted");
            (text("before"), text("after"), text("code"))
        });
        let wanted = wanted.map(|(b, a, c): (&str, &str, &str)| (b.to_owned(), a.to_owned(), c.to_owned()));
        assert_eq!(told, wanted, "{record}");
    }
}

#[tokio::test]
async fn who_one_is_says_what_one_is_told_and_nothing_to_the_silent() {
    let world = World::new().await;
    let admin = world.admin().await;
    let spec = serde_json::json!({"options": {"record_session": {"notice": "consent", "keystrokes": true}}});
    admin.call(&role("told", &spec)).await.unwrap();
    let asks = model::api::access::WhoAmI {};

    let told = world.user("ann", "told").await.call(&asks).await.unwrap().notice.unwrap();
    assert_eq!((told.mode, told.keystrokes), (model::resource::Notice::Consent, true));
    let silent = world.user("vic", "vendor").await.call(&asks).await.unwrap();
    assert!(!serde_json::to_string(&silent).unwrap().contains("notice"));
}
