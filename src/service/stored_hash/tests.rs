//! Hashes as the systems themselves make them, and texts that are not hashes.

use super::*;

const PASSWORD: &str = "correct horse battery";

/// Made by the systems themselves: Django 5.2, passlib 1.9, Werkzeug 3, PHP 8, Phoenix.
const THEIRS: [&str; 18] = [
    "$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S",
    "$2a$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S",
    "$2b$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S",
    "bcrypt$$2b$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S",
    "pbkdf2_sha256$60000$seasalt1seasalt1seasal$W0WO1+17875pKbWbg8TPBDflmBX8fTTd6jJRMXy/Dwo=",
    "pbkdf2_sha1$20000$seasalt1seasalt1$9Y8FGgDIXMN8E3ajCWVH76f4VEI=",
    "scrypt$16384$seasalt1seasalt1$8$5$K/b7bsZhjRe64Cw74suDOL3xTdjWGtCmoGgL1FeHvDQEBFQHfpi2T4caURp0/i5KyudGOyDHZzAMmXFPLTErFw==",
    "$pbkdf2-sha256$29000$O0fonfN.rxXiPIfwHiMkBA$OfiDpH.TGEqT5C01Obh5YuWBgU1J1PY2UkDfMdfuLrQ",
    "$pbkdf2-sha256$i=29000,l=32$O0fonfN+rxXiPIfwHiMkBA$OfiDpH+TGEqT5C01Obh5YuWBgU1J1PY2UkDfMdfuLrQ",
    "$pbkdf2-sha512$25000$QUhpDQEAYAzBuDdm7B1jTA$8uYxpbW2WI.0jXs3fCdoFvN1PB.9I.aTpvYQyr.OyOTS3KmcsUj.588VMWGDLZ6rUVbleY8lTorIg1c/FlgKvA",
    "$pbkdf2$20000$jXFu7R0jJEQIIcTYO2fM2Q$bf3pjztNNePXZ5ENRtfN2f9mjU4",
    "$scrypt$ln=14,r=8,p=1$lHJu7X2v9f7fm9Pae89ZCw$yCllkoegInuZyiqKKtXbyPvHlj2A+CR1Y3OmKd4Gbvc",
    "scrypt:32768:8:1$PG07Ana8BX6FDlkS$73ce09de78c66a05bcb81f793c7bd3e98cd41f8fb29bc920fbbe2a4335bba0a360d51bd84b1aff292fb69222b2b94ddd11af03807d7d422c4f3d1423ee38b02c",
    "pbkdf2:sha256:50000$iftFt3zyBbiZNS7m$249ed6f3ed1f209ddf0acd43ddbd2349be8036caf3db04e94174bb26d087323b",
    "pbkdf2:sha1:20000$cax5Hv5CoErFlcFO$6386fcaba39cdbac48793587be368069747b8e74",
    "$argon2i$v=19$m=65536,t=4,p=1$eGxSeExPaUlrdkZtR1g2dg$0tJS8i8Lst9VgZPvpvVKpfcDx+pIuqLFjzlZy7HCp8M",
    "argon2$argon2i$v=19$m=65536,t=4,p=1$eGxSeExPaUlrdkZtR1g2dg$0tJS8i8Lst9VgZPvpvVKpfcDx+pIuqLFjzlZy7HCp8M",
    "phoenix:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f:54ae1eb320da9211e410f3a22cc2d02cba45519660723fe5512cf517b61c307a",
];

fn fault(text: &str) -> Option<HashFault> {
    StoredHash::read(text).err()
}

#[test]
fn hashes_of_other_systems_verify_their_password_and_no_other() {
    for text in THEIRS {
        let stored = StoredHash::read(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert!(stored.verifies(PASSWORD.as_bytes()), "{text}");
        for wrong in ["", "correct horse batterz", "correct horse battery ", "correct horse battery\0"] {
            assert!(!stored.verifies(wrong.as_bytes()), "{text} {wrong:?}");
        }
    }
}

#[test]
fn what_is_made_unmatchable_is_of_the_same_kind_and_fits_nothing() {
    let hasher = hasher();
    let ours = argon2::PasswordHasher::hash_password(&hasher, PASSWORD.as_bytes()).unwrap().to_string();
    for text in THEIRS.into_iter().chain([ours.as_str()]) {
        let read = || StoredHash::read(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        let [one, other] = [read().unmatchable(), read().unmatchable()];
        assert!(!one.verifies(PASSWORD.as_bytes()), "{text}");
        assert_eq!(one.is_foreign(), read().is_foreign(), "{text}");
        let shape = |stored: &StoredHash| match stored {
            StoredHash::Argon2(hash) => format!("{:?}", hash.shape()),
            StoredHash::Bcrypt { cost, digested, .. } => format!("bcrypt {cost} {digested}"),
            StoredHash::Pbkdf2 { prf, rounds, salt, hash } => {
                let sha =
                    [pbkdf2::PBKDF2_HMAC_SHA1, pbkdf2::PBKDF2_HMAC_SHA256].iter().position(|sha| sha == prf);
                format!("{sha:?} {rounds} {} {}", salt.len(), hash.len())
            }
            StoredHash::Scrypt { params, salt, hash } => {
                format!("{} {} {} {} {}", params.log_n(), params.r(), params.p(), salt.len(), hash.len())
            }
        };
        assert_eq!(shape(&one), shape(&read()), "{text}");
        let secret = |stored: &StoredHash| match stored {
            StoredHash::Argon2(hash) => hash.secret(),
            StoredHash::Bcrypt { salt, hash, .. } => (salt.to_vec(), hash.to_vec()),
            StoredHash::Pbkdf2 { salt, hash, .. } | StoredHash::Scrypt { salt, hash, .. } => {
                (salt.clone(), hash.clone())
            }
        };
        let [stored, one, other] = [secret(&read()), secret(&one), secret(&other)];
        for [left, right] in [[&stored, &one], [&stored, &other], [&one, &other]] {
            assert!(left.0 != right.0 && left.1 != right.1, "{text}: salt and hash are drawn anew");
        }
    }
}

#[test]
fn no_part_of_a_hash_can_be_left_out_or_changed() {
    for text in THEIRS {
        for cut in ["$", ":"] {
            let Some((front, _)) = text.rsplit_once(cut) else { continue };
            assert!(StoredHash::read(front).is_err(), "{front}");
            assert!(StoredHash::read(&format!("{front}{cut}")).is_err(), "{front}{cut}");
        }
        let last = text.trim_end_matches('=').len() - 2;
        let other = if text.as_bytes()[last] == b'a' { "b" } else { "a" };
        let changed = format!("{}{other}{}", &text[..last], &text[last + 1..]);
        let verifies = StoredHash::read(&changed).is_ok_and(|hash| hash.verifies(PASSWORD.as_bytes()));
        assert!(!verifies, "{changed}");
    }
}

#[test]
fn bcrypt_cuts_what_is_longer_than_72_bytes_as_its_origins_do() {
    // PHP, of "0123456789" eight times over: 80 bytes.
    let cut = StoredHash::read("$2y$04$1xZUWZ5j0wkzIDJmoA96zuIsgpgsoQHaI4qgY.E3Z7Y/sRd433Bde")
        .unwrap_or_else(|fault| panic!("{fault}"));
    let long = "0123456789".repeat(8);
    assert!(cut.verifies(long.as_bytes()) && cut.verifies(&long.as_bytes()[..72]));
    assert!(cut.verifies(format!("{}whatever", &long[..72]).as_bytes()));
    assert!(!cut.verifies(&long.as_bytes()[..71]));
    assert!(cut.cuts(long.as_bytes()) && !cut.cuts(&long.as_bytes()[..72]));
}

/// L18: a stored hash that would take all memory, or all time.
#[test]
fn what_would_cost_too_much_is_refused_by_name_and_what_is_not_whole_too() {
    let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let bcrypt = "d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S";
    let hexadecimal = "ab".repeat(32);
    for (least, text) in [
        ("$argon2id$v=19$m=262144,t=3,p=1", "$argon2id$v=19$m=262145,t=1,p=1"),
        ("$argon2id$v=19$m=65536,t=3,p=4", "$argon2id$v=19$m=4194304,t=1,p=1"),
        ("$argon2id$v=19$m=1024,t=20,p=1", "$argon2id$v=19$m=1024,t=782,p=1"),
        ("$pbkdf2-sha256$i=2000000,l=32", "$pbkdf2-sha256$i=2000001,l=32"),
        ("$pbkdf2-sha512$1000000", "$pbkdf2-sha512$4294967295"),
        ("$pbkdf2$1000000", "$pbkdf2$2000000"),
        ("$scrypt$ln=17,r=8,p=1", "$scrypt$ln=18,r=8,p=1"),
        ("$scrypt$ln=14,r=8,p=8", "$scrypt$ln=14,r=8,p=9"),
        ("$scrypt$ln=1,r=256,p=1", "$scrypt$ln=1,r=257,p=1"),
        ("$scrypt$ln=1,r=1,p=1", "$scrypt$ln=64,r=4294967295,p=4294967295"),
    ] {
        assert_eq!(fault(&format!("{least}{tail}")), None, "{least}");
        assert!(matches!(fault(&format!("{text}{tail}")), Some(HashFault::TooCostly(_))), "{text}");
    }
    assert_eq!(fault(&format!("$2b$13${bcrypt}")), None);
    for text in [
        format!("$2b$14${bcrypt}"),
        format!("$2b$31${bcrypt}"),
        format!("pbkdf2:sha256:5000000$salt${hexadecimal}"),
        format!("scrypt:1048576:8:1$salt${hexadecimal}"),
        format!("scrypt:2:1048576:1$salt${hexadecimal}"),
        format!("scrypt$1048576$salt$8$1${}", "A".repeat(44)),
    ] {
        assert!(matches!(fault(&text), Some(HashFault::TooCostly(_))), "{text}");
    }
    for text in [
        format!("$2b$3${bcrypt}"),
        format!("$2b$05${bcrypt}x"),
        format!("$2b$05${}", &bcrypt[1..]),
        format!("$2b$05$!{}", &bcrypt[1..]),
        format!("$pbkdf2-sha256$0{tail}"),
        format!("$pbkdf2-sha256$-1{tail}"),
        "$pbkdf2-sha256$1000$$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g".to_owned(),
        format!("pbkdf2:sha256:1000$salt${}", "ab".repeat(15)),
        format!("scrypt:1000:8:1$salt${hexadecimal}"),
        format!("scrypt:16384:0:1$salt${hexadecimal}"),
        format!("phoenix:zz:{hexadecimal}"),
        format!("$argon2id$v=19$t=1,p=1{tail}"),
        "$argon2id$v=19$m=1024,t=1,p=1".to_owned(),
    ] {
        assert!(matches!(fault(&text), Some(HashFault::Malformed(_))), "{text} {:?}", fault(&text));
    }
    for text in [
        "",
        "plain text",
        "$1$salt$hash",
        "$apr1$salt$hash",
        "$6$rounds=5000$salt$hash",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "pbkdf2:md5:1000$salt$00",
        "$2x$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S",
    ] {
        assert_eq!(fault(text), Some(HashFault::Unknown), "{text}");
    }
}

/// Reading it in another way than it is computed would let through what costs too much.
#[test]
fn parameters_are_read_in_one_way_only() {
    let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    let bcrypt = "d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S";
    let hexadecimal = "ab".repeat(32);
    for argon2 in [
        "m=1024,t=1,t=40000,p=1",
        "m=8,m=1048576,t=1,p=1",
        "m=1024,t=1,p=1,p=1",
        "t=1,m=1024,p=1",
        "m=1024,t=1,p=1,keyid=AAAA",
        "m=1024,t=1,p=1,data=AAAA",
        "m=1024,t=1,x=1",
        "m=1024,t=1",
        "m=01024,t=1,p=1",
        "m=+1024,t=1,p=1",
        "m=1024,t=1,p=1,",
        "m=1024,t=0,p=1",
        "m=1024,t=1,p=0",
        "m=7,t=1,p=1",
        "m= 1024,t=1,p=1",
    ] {
        let text = format!("$argon2id$v=19${argon2}{tail}");
        assert_eq!(fault(&text), Some(HashFault::Malformed("argon2")), "{text}");
    }
    for version in ["v=99", "v=0", "v=019", "v=", "19", "v=19,v=16", "w=19", ""] {
        let text = format!("$argon2id${version}$m=1024,t=1,p=1{tail}");
        assert_eq!(fault(&text), Some(HashFault::Malformed("argon2")), "{text}");
    }
    for text in [
        "$argon2id$v=19$m=1024,t=1,p=1$c2hvcnQ$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g",
        "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$c2hvcnQ",
    ] {
        assert_eq!(fault(text), Some(HashFault::Malformed("argon2")), "{text}");
    }
    for text in [
        format!("$scrypt$ln=14,r=8,r=8,p=1{tail}"),
        format!("$scrypt$ln=1,ln=14,r=8,p=1{tail}"),
        format!("$scrypt$r=8,p=1,ln=14{tail}"),
        format!("$scrypt$ln=14,r=8,p=1,x=1{tail}"),
        format!("$scrypt$ln=014,r=8,p=1{tail}"),
        format!("scrypt:16384:+8:1$salt${hexadecimal}"),
        format!("scrypt:016384:8:1$salt${hexadecimal}"),
        format!("$pbkdf2-sha256$i=1000,i=2000{tail}"),
        format!("$pbkdf2-sha256$l=32,i=1000{tail}"),
        format!("$pbkdf2-sha256$i=1000,l=31{tail}"),
        format!("$pbkdf2-sha256$i=1000,l=32,x=1{tail}"),
        format!("$pbkdf2-sha256$+1000{tail}"),
        format!("pbkdf2:sha256:01000$salt${hexadecimal}"),
        format!("pbkdf2:sha256:1000$salt${}", "+b".repeat(32)),
        format!("$2b$+5${bcrypt}"),
    ] {
        assert!(matches!(fault(&text), Some(HashFault::Malformed(_))), "{text} {:?}", fault(&text));
    }
    for text in [
        format!("$pbkdf2--sha256$1000{tail}"),
        format!("$pbkdf2-_sha256$1000{tail}"),
        format!("$argon2$m=1024,t=1,p=1{tail}"),
    ] {
        assert_eq!(fault(&text), Some(HashFault::Unknown), "{text}");
    }
}

#[test]
fn what_costs_less_or_more_than_ours_counts_as_foreign_also_by_argon2() {
    let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    for (made, current, foreign) in [
        ("$argon2id$v=19$m=19456,t=2,p=1", true, false),
        ("$argon2i$v=19$m=19456,t=2,p=1", false, false),
        ("$argon2id$v=16$m=19456,t=2,p=1", false, false),
        ("$argon2id$v=19$m=1024,t=1,p=1", false, true),
        ("$argon2id$v=19$m=65536,t=3,p=4", false, true),
    ] {
        let stored =
            StoredHash::read(&format!("{made}{tail}")).unwrap_or_else(|fault| panic!("{made}: {fault}"));
        assert_eq!((stored.is_current(), stored.is_foreign()), (current, foreign), "{made}");
    }
}
