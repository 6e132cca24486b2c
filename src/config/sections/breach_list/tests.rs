//! Lists as they are published, and files that are not such lists.

use super::*;

fn list(content: &[u8]) -> (tempfile::TempDir, BreachList) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list");
    std::fs::write(&file, content).unwrap();
    (folder, BreachList(file))
}

fn sha1(password: &str) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()).as_ref())
}

/// As they are given out: upper case, a count, sorted.
fn hashes(count: usize, end: &str) -> String {
    let line = |number| format!("{}:{}", sha1(&format!("leaked {number}")).to_uppercase(), number * 7 + 1);
    let mut lines: Vec<String> = (0..count).map(line).collect();
    lines.sort();
    lines.join(end) + end
}

#[test]
fn every_password_of_a_sorted_list_is_found_and_no_other() {
    for (count, end) in [(1, "\n"), (2, "\r\n"), (60, "\n"), (3000, "\r\n")] {
        let text = hashes(count, end);
        for text in [text.as_str(), text.trim_end(), &text.to_lowercase()] {
            let (_folder, list) = list(text.as_bytes());
            list.check().unwrap();
            for number in 0..count {
                assert!(list.contains(&format!("leaked {number}")).unwrap(), "{number} of {count}");
            }
            for other in 0..200 {
                assert!(!list.contains(&format!("kept {other}")).unwrap(), "{other}");
            }
        }
    }
}

#[test]
fn a_list_of_plain_words_is_read_through() {
    let (_folder, list) = list(b"hunter2\r\nTrustno1 trustno1\n\nletmein");
    list.check().unwrap();
    for word in ["hunter2", "Hunter2", "trustno1 trustno1", "letmein"] {
        assert!(list.contains(word).unwrap(), "{word}");
    }
    for word in ["hunter", "hunter22", "trustno1"] {
        assert!(!list.contains(word).unwrap(), "{word}");
    }
}

#[test]
fn words_are_compared_in_the_form_of_passwords() {
    let (_folder, list) = list(b"Zoe\xcc\x88 kept it\nZo\xeb lost it\n\xc3\x89cole\xc2\xa0du soir\n");
    list.check().unwrap();
    for word in
        ["Zo\u{eb} kept it", "zo\u{eb} KEPT it", "zo\u{eb} lost it", "ZO\u{cb} LOST IT", "\u{e9}cole du soir"]
    {
        assert!(list.contains(word).unwrap(), "{word}");
    }
    for word in ["Zoe kept it", "Zo\u{ea} lost it", "Zo\u{eb}"] {
        assert!(!list.contains(word).unwrap(), "{word}");
    }
}

#[test]
fn hashes_of_every_way_to_write_a_password_are_found() {
    for leaked in [&b"Zo\xc3\xab kept it"[..], b"Zoe\xcc\x88 kept it", b"Zo\xeb kept it"] {
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaked);
        let (_folder, list) = list(hex(digest.as_ref()).as_bytes());
        assert!(list.contains("Zo\u{eb} kept it").unwrap(), "{leaked:?}");
        assert!(!list.contains("Zo\u{ea} kept it").unwrap());
    }
}

/// Larger than what is looked at wholly, with others put behind: so many of all.
fn large(behind: u64) -> Vec<u8> {
    let lines = 4 * WHOLLY_CHECKED / 41;
    let line = |number: u64, of: u64| format!("{:08X}{:032X}\n", number * (u64::from(u32::MAX) / of), number);
    let sorted = (0..lines).map(|number| line(number, lines));
    sorted.chain((0..behind).map(|number| line(number, behind))).collect::<String>().into_bytes()
}

#[test]
fn what_was_put_behind_a_large_list_is_noticed_whatever_it_amounts_to() {
    let (_folder, whole) = list(&large(0));
    whole.check().unwrap();
    for behind in [1, 150, 3_000, 30_000, 60_000] {
        let (_folder, list) = list(&large(behind));
        assert!(list.check().unwrap_err().to_string().contains("not in order"), "{behind}");
    }
}

#[test]
fn a_look_into_what_is_out_of_order_fails() {
    let sorted = hashes(3000, "\n");
    let half = sorted.len() / 2;
    let half = half + sorted[half..].find('\n').unwrap() + 1;
    let (_folder, list) = list(format!("{}{}", &sorted[half..], &sorted[..half]).as_bytes());
    let looks: Vec<_> = (0..200).map(|number| list.contains(&format!("leaked {number}"))).collect();
    assert!(looks.iter().all(Result::is_err), "it was replaced since the check");
}

#[test]
fn a_list_that_cannot_be_searched_is_refused() {
    let behind = |more: &str| format!("{}{more}", hashes(3000, "\n"));
    let ntlm: Vec<String> = (0..50).map(|number| format!("{}:3", &sha1(&number.to_string())[..32])).collect();
    for (content, why) in [
        (behind(&hashes(150, "\n")), "not in order"),
        (behind("plain words\n"), "lines that are not hashes"),
        (format!("\u{feff}{}", behind("")), "byte order mark"),
        ("\u{feff}hunter2\n".to_owned(), "byte order mark"),
        (format!("# leaked\n{}", behind("")), "first line is not one"),
        (format!(" {}", behind("").replace('\n', "\n ")), "blanks before them"),
        (ntlm.join("\n"), "not SHA-1"),
    ] {
        let (_folder, list) = list(content.as_bytes());
        assert!(list.check().unwrap_err().to_string().contains(why), "{why}");
    }
    let (_folder, words) = list(format!("hunter2\n{}\n# letmein\nqwerty\n", sha1("x")).as_bytes());
    words.check().unwrap();
    assert!(words.contains("# letmein").unwrap(), "a word may be anything");

    let sorted = hashes(3000, "\n");
    let mut lines: Vec<&str> = sorted.lines().collect();
    lines.reverse();
    for (content, why) in [
        (lines.join("\n"), "not in order"),
        (String::new(), "empty"),
        (format!("{}\n{}", &sorted[..45], "words, all of them \n".repeat(2000)), "not hashes"),
    ] {
        let (_folder, list) = list(content.as_bytes());
        assert!(list.check().unwrap_err().to_string().contains(why), "{why}");
    }
    let (folder, list) = list(sorted.as_bytes());
    drop(folder);
    assert!(list.contains("leaked 1").is_err(), "a list that is gone finds nothing, and says so");
}
