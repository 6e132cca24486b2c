//! What is commented out, and that no value ends a line.

use super::*;

#[test]
fn text_is_toml_whatever_is_in_it() {
    for text in ["", "a", "\"a:b\"", "it's", "a\\b", "'\"\\", "\u{7f}\u{1}\n\t", "é\u{2028}😀", "#[x]=,{}"]
    {
        let table: toml::Table = format!("x = {}", toml_text(text)).parse().unwrap();
        assert_eq!(table["x"].as_str(), Some(text));
        let table: toml::Table = format!("x = {{ {} = 1 }}", toml_text(text)).parse().unwrap();
        assert!(table["x"].as_table().unwrap().contains_key(text));
    }
}

fn provider(name: &str) -> Block {
    let mut block = Block::new("[providers]");
    block.set_text("name", name, "NAME");
    block.set_text("issuer", "https://sso.example.com", "URL");
    block.set_text("client_id", "doorward", "ID");
    block.set(
        "client_secret_file",
        SettingValue::SecretFile { file: "f".into(), secret: Some(Secret::new("s3cret")) },
        "SECRET",
    );
    block
}

fn with(blocks: Vec<Block>) -> Draft {
    let mut draft = Draft::new();
    for block in blocks {
        draft.add(block);
    }
    let mut upstream = Block::new("[upstreams]");
    upstream.set_text("name", "app", "");
    upstream.set_text("url", "http://127.0.0.1:6006", "");
    draft.add(upstream);
    draft.check();
    draft
}

#[test]
fn one_of_a_list_that_is_refused_is_commented_out_whole_and_the_others_stay() {
    let mut bad = provider("b");
    bad.set_claim("groups", SettingValue::Text("cognito:groups".into()), "GROUPS");
    bad.set_claim("allowed_groups", SettingValue::Texts(vec!["ops".into()]), "ALLOWED");
    let draft = with(vec![provider("a"), bad, provider("c")]);
    assert_eq!(draft.count("providers"), (2, 3));
    let text = draft.render("t");
    assert!(text.contains("# - GROUPS: is no JMESPath expression"), "{text}");
    assert!(text.contains("\n#name = \"b\"\n") && text.contains("\n#[providers.claims]\n"), "{text}");
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["providers"].as_array().unwrap().len(), 2);
    assert!(!text.contains("s3cret"));
}

#[test]
fn a_setting_that_is_refused_is_commented_out_alone() {
    let mut top = Block::new("");
    top.set_text("public_url", "http://app.example.com", "ROOT_URL");
    let mut session = Block::new("session");
    session.set_text("idle", "1s", "IDLE");
    session.set_text("cookie_same_site", "strict", "SAME");
    let text = with(vec![top, session]).render("t");
    assert!(text.contains("# ROOT_URL: is plain http"), "{text}");
    assert!(text.contains("# IDLE: is too short") && text.contains("\n#idle = \"1s\""), "{text}");
    assert!(text.contains("\ncookie_same_site = \"strict\""), "{text}");
}

#[test]
fn what_people_wrote_never_ends_a_comment() {
    let mut draft = Draft::new();
    draft.remark(RemarkKind::LeftOut, "A", "x\nevil = true\u{1b}[2J");
    let text = draft.render("t");
    assert!(text.contains("# - A: x?evil = true?[2J") && text.parse::<toml::Table>().unwrap().is_empty());
}
