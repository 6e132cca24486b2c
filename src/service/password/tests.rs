//! Verifying and hashing, and who goes first.

use argon2::Algorithm;
use argon2::Argon2;
use argon2::Params;
use argon2::Version;

use super::*;

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

/// T09: a stored hash that costs too little.
#[tokio::test]
async fn only_the_same_password_verifies() {
    let passwords = Passwords::new();
    let stored = passwords.hash(secret("correct horse battery")).await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_eq!(
        passwords.verify(PasswordPriority::Unknown, secret("correct horse battery"), &stored).await.unwrap(),
        Verification::Right
    );
    for wrong in ["", "correct horse batterz", "correct horse battery ", "Correct horse battery"] {
        assert_eq!(
            passwords.verify(PasswordPriority::Unknown, secret(wrong), &stored).await.unwrap(),
            Verification::Wrong,
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn two_hashes_of_one_password_differ() {
    let passwords = Passwords::new();
    let one = passwords.hash(secret("correct horse battery")).await.unwrap();
    assert_ne!(one, passwords.hash(secret("correct horse battery")).await.unwrap());
}

#[tokio::test]
async fn older_argon2_hashes_verify_and_ask_to_be_replaced() {
    let passwords = Passwords::new();
    for (algorithm, version) in [
        (Algorithm::Argon2id, Version::V0x13),
        (Algorithm::Argon2i, Version::V0x13),
        (Algorithm::Argon2i, Version::V0x10),
    ] {
        let params = Params::new(1024, 3, 4, None).unwrap();
        let hash = Argon2::new(algorithm, version, params).hash_password(b"a password of old").unwrap();
        let stored = hash.to_string();
        let unversioned = stored.replace("$v=16", "");
        for stored in [stored, unversioned] {
            let right = passwords
                .verify(PasswordPriority::Unknown, secret("a password of old"), &stored)
                .await
                .unwrap();
            assert_eq!(right, Verification::Outdated, "{stored}");
            let wrong = passwords
                .verify(PasswordPriority::Unknown, secret("another password"), &stored)
                .await
                .unwrap();
            assert_eq!(wrong, Verification::Wrong, "{stored}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_and_the_empty_password_are_refused_at_the_usual_cost() {
    let passwords = Passwords::new();
    let empty = "$2y$04$70jlLwa1cRDGLUVyMqeiWOgmQivgZA7z.pFKrw60gtTSOD2VMS8qa";
    let tail = "$c29tZXNhbHRzb21lc2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    for (stored, password) in [
        (format!("$argon2id$v=19$m=4194304,t=1,p=1{tail}").as_str(), "whatever"),
        ("", "whatever"),
        ("plain text", "plain text"),
        (empty, ""),
    ] {
        let before = passwords.computed();
        let verdict = passwords.verify(PasswordPriority::Unknown, secret(password), stored).await.unwrap();
        assert_eq!(verdict, Verification::Wrong, "{stored}");
        assert_eq!(passwords.computed(), before + 1);
    }
    let read = StoredHash::read(empty).ok().unwrap();
    assert!(read.verifies(b""), "or else it shows nothing");
}

#[tokio::test]
async fn nobody_never_verifies() {
    let passwords = Passwords::new();
    for nothing in [String::new(), "x".repeat(100_000)] {
        let verdict =
            passwords.verify_nobody(PasswordPriority::Unknown, secret(&nothing), None).await.unwrap();
        assert_eq!(verdict, Verification::Wrong);
    }
    assert_eq!(passwords.computed(), 2);
}

#[tokio::test]
async fn forms_of_one_password_agree_and_hashes_made_before_still_verify() {
    let passwords = Passwords::new();
    let (composed, decomposed) = ("Zo\u{eb} kept a s\u{e9}cret", "Zoe\u{308} kept\u{a0}a se\u{301}cret");
    let stored = passwords.hash(secret(decomposed)).await.unwrap();
    for form in [composed, decomposed] {
        assert_eq!(
            passwords.verify(PasswordPriority::Unknown, secret(form), &stored).await.unwrap(),
            Verification::Right,
            "{form}"
        );
    }
    for wrong in ["Zoe kept a secret", "ZO\u{cb} KEPT A S\u{c9}CRET", "Zo\u{eb}kept a s\u{e9}cret"] {
        assert_eq!(
            passwords.verify(PasswordPriority::Unknown, secret(wrong), &stored).await.unwrap(),
            Verification::Wrong,
            "{wrong}"
        );
    }
    // As it was hashed before there was one form.
    let before = hasher().hash_password(decomposed.as_bytes()).unwrap().to_string();
    assert_eq!(
        passwords.verify(PasswordPriority::Unknown, secret(decomposed), &before).await.unwrap(),
        Verification::Outdated
    );
    assert_eq!(
        passwords.verify(PasswordPriority::Unknown, secret(composed), &before).await.unwrap(),
        Verification::Wrong
    );
    // Werkzeug 3, of the decomposed form with plain spaces.
    let theirs = "scrypt:16384:8:1$Nzu2lDHEzWZ78UjF$16476f7b628c695086591af93fa5981d85f22a06ff5f1dd233224ff529491c96d85ec55b61c47041d11f26a61f97aee6bb1cd743032aac83c438a157fdd027ab";
    let typed = "Zoe\u{308} kept a se\u{301}cret";
    assert_eq!(
        passwords.verify(PasswordPriority::Unknown, secret(typed), theirs).await.unwrap(),
        Verification::Outdated
    );
}

#[tokio::test]
async fn the_time_of_an_answer_does_not_tell_whose_hash_another_system_made() {
    let passwords = Passwords::new();
    let ours = passwords.hash(secret("correct horse battery")).await.unwrap();
    let theirs = "$2y$10$jPnWU1yFaYZJ134suIKZguIWniaU5ej89nrkJe4AwIwGj3aUvCiSG";
    assert_eq!(
        passwords.verify(PasswordPriority::Unknown, secret("correct horse battery"), theirs).await.unwrap(),
        Verification::Outdated
    );
    // The quickest of several: other work on the machine only ever makes one slower.
    let quickest = async |stored: Option<&str>| {
        let mut best = Duration::MAX;
        for _ in 0..7 {
            let begun = Instant::now();
            let verdict = match stored {
                Some(stored) => passwords.verify(PasswordPriority::Unknown, secret("wrong"), stored).await,
                None => passwords.verify_nobody(PasswordPriority::Unknown, secret("wrong"), None).await,
            };
            assert_eq!(verdict.unwrap(), Verification::Wrong);
            best = best.min(begun.elapsed());
        }
        best
    };
    let foreign = quickest(Some(theirs)).await;
    for (whose, quick) in [("ours", quickest(Some(&ours)).await), ("nobody", quickest(None).await)] {
        assert!(quick > foreign * 3 / 4, "{whose}: {quick:?} against {foreign:?}");
    }
}

#[tokio::test]
async fn a_password_that_bcrypt_has_cut_is_not_pinned_to_what_was_typed() {
    let passwords = Passwords::new();
    let stored = "$2y$04$1xZUWZ5j0wkzIDJmoA96zuIsgpgsoQHaI4qgY.E3Z7Y/sRd433Bde";
    let long = "0123456789".repeat(8);
    for (typed, verdict) in [
        (long.as_str(), Verification::Right),
        (&long[..72], Verification::Outdated),
        (&long[..71], Verification::Wrong),
    ] {
        assert_eq!(
            passwords.verify(PasswordPriority::Unknown, secret(typed), stored).await.unwrap(),
            verdict,
            "{typed}"
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_into_the_queue_is_told_to_come_back() {
    let passwords = Passwords::with_limits(1, 1);
    let attempts = (0..6).map(|_| passwords.verify_nobody(PasswordPriority::Unknown, secret("x"), None));
    let answers = futures_util::future::join_all(attempts).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Err(ServiceError::Busy { .. }))).count();
    assert_eq!((busy, passwords.computed()), (4, 2));
    assert!(
        passwords.verify_nobody(PasswordPriority::Unknown, secret("x"), None).await.is_ok(),
        "room again afterwards"
    );
}

#[tokio::test]
async fn guesses_at_the_hash_of_another_system_keep_nobody_else_waiting() {
    let passwords = Passwords::with_limits(1, 64);
    let ours = passwords.hash(secret("correct horse battery")).await.unwrap();
    // The only core for ours is as free as ever while the slow ones take as long as they like.
    let _guessing = passwords.lanes.enter(Work::Foreign, PasswordPriority::Unknown).await.unwrap();
    for whose in [PasswordPriority::Unknown, PasswordPriority::Known] {
        let right = passwords.verify(whose, secret("correct horse battery"), &ours).await.unwrap();
        assert_eq!(right, Verification::Right);
        assert!(passwords.hash(secret("another one")).await.is_ok());
        assert_eq!(passwords.verify_nobody(whose, secret("x"), None).await.unwrap(), Verification::Wrong);
    }
    let theirs = "$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S";
    let refused = passwords.verify(PasswordPriority::Unknown, secret("correct horse battery"), theirs).await;
    assert!(matches!(refused, Err(ServiceError::Busy { .. })), "one of those at a time: {refused:?}");
}

#[tokio::test]
async fn names_are_tried_by_one_stranger_after_the_other() {
    let passwords = Passwords::new();
    let first = passwords.turn_at("alice").await.unwrap();
    assert!(futures_util::FutureExt::now_or_never(passwords.turn_at("alice")).is_none());
    assert!(futures_util::FutureExt::now_or_never(passwords.turn_at("bob")).is_some_and(|turn| turn.is_ok()));
    drop(first);
    assert!(passwords.turn_at("alice").await.is_ok());
}

/// Time stands still, so that a slow machine refuses no one.
#[tokio::test(start_paused = true)]
async fn who_is_known_goes_ahead_of_strangers() {
    let passwords = Passwords::with_limits(1, 64);
    let finished = std::cell::RefCell::new(Vec::new());
    let rush = futures_util::future::join_all((0..12).map(|_| async {
        passwords.verify_nobody(PasswordPriority::Unknown, secret("x"), None).await.unwrap();
        finished.borrow_mut().push(PasswordPriority::Unknown);
    }));
    let owner = async {
        tokio::task::yield_now().await;
        passwords.verify_nobody(PasswordPriority::Known, secret("x"), None).await.unwrap();
        finished.borrow_mut().push(PasswordPriority::Known);
    };
    tokio::join!(rush, owner);
    let at = finished.borrow().iter().position(|whose| *whose == PasswordPriority::Known).unwrap();
    assert!(at <= 2, "one at work and one in line, then the owner: {at}");
    let full = Passwords::with_limits(1, 1);
    let rush = futures_util::future::join_all(
        (0..6).map(|_| full.verify_nobody(PasswordPriority::Unknown, secret("x"), None)).collect::<Vec<_>>(),
    );
    let (rush, owner) = tokio::join!(rush, full.verify_nobody(PasswordPriority::Known, secret("x"), None));
    assert!(rush.iter().any(Result::is_err) && owner.is_ok(), "their seats are not the owner's");
}

/// Or else a crowd of refusals that wait keeps everybody else from our pages.
#[tokio::test]
async fn an_answer_that_only_waits_to_take_as_long_as_others_lets_the_next_one_run() {
    let passwords = Passwords::new();
    passwords.slowest.lock().unwrap().note(Duration::from_secs(1));
    let one_at_a_time = ConcurrencyLimits { work: 1, wait: Duration::from_mins(1), ..OF_NAMES };
    let limiter = ConcurrencyLimiter::new(one_at_a_time);
    let order = std::cell::RefCell::new(Vec::new());
    let leave = limiter.take("first").await.unwrap();
    let first = async {
        let refused = leave.during(passwords.verify_nobody(PasswordPriority::Unknown, secret("x"), None));
        assert_eq!(refused.await.unwrap(), Verification::Wrong);
        order.borrow_mut().push("first");
    };
    let next = async {
        drop(limiter.take("next").await.unwrap());
        order.borrow_mut().push("next");
    };
    tokio::join!(first, next);
    assert_eq!(order.into_inner(), ["next", "first"]);
}

/// Else who knows somebody's password finds out at which unknown names that one is the decoy.
#[tokio::test(start_paused = true)]
async fn a_password_that_fits_the_decoy_of_a_name_is_refused_like_any_other() {
    let passwords = Passwords::new();
    passwords.slowest.lock().unwrap().note(Duration::from_secs(2));
    let ours = passwords.hash(secret("correct horse battery")).await.unwrap();
    let theirs = "$2y$05$d1AWeMEXPiqYtvNw3bvKVu6wF2Bn3nE2tqMrc8rO3rEItPA.OOK6S";
    for like in [theirs, &ours] {
        let fits = passwords.verify(PasswordPriority::Unknown, secret("correct horse battery"), like).await;
        assert_ne!(fits.unwrap(), Verification::Wrong, "or else it shows nothing: {like}");
        let begun = tokio::time::Instant::now();
        let refused =
            passwords.verify_nobody(PasswordPriority::Unknown, secret("correct horse battery"), Some(like));
        assert_eq!(refused.await.unwrap(), Verification::Wrong, "{like}");
        assert!(begun.elapsed() > Duration::from_secs(1), "{like}: it waits like any other");
    }
}
