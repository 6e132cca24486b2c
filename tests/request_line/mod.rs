//! Every rule of the line that a request takes, with the test that would fail without it.

use std::collections::BTreeMap;
use std::fs;

use crate::{assert_none, root, word};

const TOPICS: [&str; 10] = [
    "target",
    "credential",
    "caller",
    "policy",
    "enforce",
    "explanation",
    "answer",
    "identity",
    "signature",
    "attribution",
];

/// `topic: rule`, the file, the test.
#[rustfmt::skip]
const RULES: &[(&str, &str, &str)] = &[
    ("target: what is decided is byte for byte what is sent", "src/model/target/tests.rs", "what_is_decided_is_what_is_sent_for_random_targets"),
    ("target: what is decided is what is sent, below a prefix too", "src/model/target/prefix.rs", "what_is_sent_is_what_was_decided_without_the_prefix"),
    ("target: it is what really reaches the upstream", "tests/attacks/paths/mod.rs", "every_spelling_of_a_path_is_refused_or_decided_as_what_is_sent"),
    ("target: ten thousand hostile ones reach nothing", "tests/attacks/paths/hostile.rs", "ten_thousand_hostile_targets_never_reach_admin"),
    ("target: needless escapes are decoded", "src/model/target/tests.rs", "needless_escapes_are_decoded_before_anything_is_decided"),
    ("target: dot segments, backslashes, control bytes, broken escapes and invalid UTF-8 are refused", "src/model/target/tests.rs", "ambiguous_paths_are_refused"),
    ("target: encoded slashes, parameters and empty segments are refused unless opted in to", "src/model/target/tests.rs", "odd_spellings_say_which_opt_in_they_need"),
    ("target: an opted-in spelling is decided in both readings, and the stricter wins", "tests/attacks/paths/mod.rs", "an_opted_in_spelling_is_decided_in_both_readings"),
    ("target: an authority that differs from Host is refused", "tests/attacks/paths/hosts.rs", "an_absolute_target_names_no_other_server_and_other_forms_are_refused"),
    ("target: exactly one well-formed host", "tests/attacks/paths/hosts.rs", "only_one_well_formed_host_is_accepted"),
    ("target: the query takes no part in matching", "src/policy/tests.rs", "a_query_never_takes_part_in_matching_a_path"),
    ("target: both edges read it alike", "tests/gateway/forward_auth.rs", "both_edges_decide_every_confusing_path_alike"),
    ("credential: at most one decides, in a fixed order", "src/gate/credential_tests.rs", "at_most_one_credential_decides_and_a_wrong_header_is_final"),
    ("credential: a wrong header is final, beside a good session too", "tests/gateway/credentials.rs", "a_wrong_header_credential_is_final_even_beside_a_good_session"),
    ("credential: two different header credentials are 401", "tests/gateway/credentials.rs", "two_different_header_credentials_are_401"),
    ("credential: two cookies of our name are 401", "tests/gateway/credentials.rs", "malformed_forged_and_doubled_cookies_never_let_in"),
    ("credential: bearer in any case, and the key header", "tests/attacks/identity.rs", "our_credentials_stay_here_and_other_cookies_keep_their_bytes"),
    ("credential: the key header's name is configurable", "tests/attacks/identity.rs", "connection_cannot_make_a_chosen_key_header_pass_or_vanish"),
    ("credential: a key counts nowhere else", "tests/attacks/keys.rs", "a_key_counts_in_its_header_only"),
    ("credential: a key as a Basic password counts where a route says so", "tests/gateway/tokens.rs", "basic_counts_on_its_routes_only_and_is_asked_for_there_only"),
    ("credential: foreign Authorization is left to an upstream that wants it", "tests/gateway/tokens.rs", "what_is_ours_stays_here_where_foreign_authorization_passes"),
    ("credential: the same in answers to other proxies", "tests/gateway/forward_auth.rs", "foreign_authorization_is_left_to_applications_only_where_that_is_said"),
    ("credential: what is ours reaches no upstream", "tests/attacks/identity.rs", "an_upstream_that_passes_authorization_on_still_never_sees_a_key_of_ours"),
    ("caller: on a warm cache the store is asked nothing", "tests/gateway/credentials.rs", "a_request_on_a_warm_cache_asks_the_store_nothing"),
    ("caller: nor by questions of other proxies", "tests/gateway/forward_auth.rs", "a_check_on_a_warm_cache_asks_the_store_nothing"),
    ("caller: memory is keyed by the whole credential", "tests/gateway/credentials.rs", "a_warm_cache_answers_only_for_the_whole_credential"),
    ("caller: memory is bounded for each kind", "src/gate/authenticator/tests/mod.rs", "what_is_remembered_is_bounded_for_each_kind"),
    ("caller: strangers take no place in memory", "src/gate/authenticator/tests/mod.rs", "strangers_take_no_place_among_those_who_are_remembered"),
    ("caller: a right that is taken away is forgotten at once", "tests/gateway/credentials.rs", "a_session_ends_at_once_by_revocation_role_change_and_disabling"),
    ("caller: memory is trusted only while the store is read", "src/service/revocation.rs", "memory_is_trusted_only_shortly_after_a_successful_read"),
    ("caller: a key is no more than its owner", "tests/gateway/credentials.rs", "a_users_key_is_never_more_than_its_owner"),
    ("caller: a key keeps within its scope and time", "tests/gateway/credentials.rs", "a_key_works_only_within_its_scope_and_time"),
    ("caller: a temporary password opens nothing but its change", "tests/attacks/login.rs", "a_temporary_password_opens_nothing_but_its_own_change"),
    ("policy: the first rule that fits decides", "src/policy/tests.rs", "the_first_rule_that_fits_the_request_decides"),
    ("policy: no match is a denial", "src/policy/tests.rs", "no_rule_is_a_denial"),
    ("policy: without a rule or a route the answer is no", "tests/attacks/paths/mod.rs", "where_no_rule_and_no_route_speaks_the_answer_is_no"),
    ("policy: a route without rules has the standard ones", "src/policy/tests.rs", "standard_rules_let_viewers_read_and_members_write"),
    ("policy: paths are prefixes by segment", "src/policy/path.rs", "a_plain_pattern_is_a_prefix_by_segment"),
    ("policy: a star stays within a segment", "src/policy/path.rs", "a_star_stays_within_its_segment"),
    ("policy: two stars span segments", "src/policy/path.rs", "two_stars_span_segments"),
    ("policy: another spelling of a path is no way around a rule", "src/policy/tests.rs", "a_path_that_a_careless_server_reads_as_a_stricter_one_is_decided_as_that"),
    ("policy: hosts and client networks narrow a rule", "src/policy/tests.rs", "hosts_and_networks_narrow_a_rule"),
    ("policy: methods by name, read, write and websocket; unknown ones write", "src/policy/reading_tests.rs", "methods_match_by_name_and_class_and_a_switch_is_no_read"),
    ("policy: HEAD is decided as GET", "src/policy/tests.rs", "head_is_decided_as_get"),
    ("policy: a key for GET is one for HEAD", "src/model/api_key.rs", "a_key_for_get_is_one_for_head_and_for_nothing_else"),
    ("policy: TRACE and CONNECT are never proxied", "tests/attacks/paths/hosts.rs", "methods_are_reads_writes_or_never_proxied"),
    ("policy: GraphQL by the operation that would run", "src/policy/graphql_tests.rs", "graphql_rules_match_the_operation_that_would_run"),
    ("policy: one GraphQL field that is kept back keeps all of a request back", "tests/gateway/graphql.rs", "one_field_that_is_kept_back_keeps_all_of_a_request_back"),
    ("policy: a parameter of the query in any spelling", "tests/gateway/query.rs", "a_parameter_counts_in_every_spelling_on_both_faces"),
    ("policy: a change by the query of a GET is not a read", "tests/gateway/query.rs", "a_mutation_in_the_address_is_no_read"),
    ("policy: messages of the Model Context Protocol, each of a batch", "tests/gateway/mcp.rs", "viewers_list_and_read_and_do_not_call"),
    ("policy: only what is plainly a GraphQL query is a read", "tests/gateway/graphql.rs", "only_what_is_plainly_a_query_of_listed_fields_is_a_read"),
    ("policy: gRPC by full method", "src/policy/reading_tests.rs", "grpc_rules_match_service_and_method_whatever_the_call_looks_like"),
    ("policy: roles, groups, users, keys, providers, anyone and signed-in", "src/policy/tests.rs", "who_is_matched_by_role_group_user_key_and_provider"),
    ("policy: deny takes every word that allow takes", "src/policy/tests.rs", "deny_takes_every_word_that_allow_takes"),
    ("policy: deny wins and leaves the others to the next rule", "src/policy/tests.rs", "a_deny_list_wins_and_lets_the_next_rule_speak_for_the_others"),
    ("policy: a method that is not said is the strictest", "src/policy/reading_tests.rs", "a_method_that_is_not_said_is_decided_as_the_strictest_the_rules_tell_apart"),
    ("policy: what a page of another origin sends with a cookie is refused", "tests/attacks/csrf.rs", "forms_of_other_sites_do_nothing"),
    ("policy: nor opens a WebSocket", "tests/gateway/streaming.rs", "a_websocket_with_a_cookie_is_refused_to_pages_of_other_origins"),
    ("enforce: on unless something else is said", "src/config/tests/mod.rs", "the_least_file_gets_every_default"),
    ("enforce: the general word holds where nothing narrower is said", "src/gate/tests.rs", "the_general_enforce_holds_where_route_and_rule_say_nothing"),
    ("enforce: the narrowest word counts", "src/gate/tests.rs", "what_is_only_logged_passes_and_the_narrowest_word_counts"),
    ("enforce: log lets through and vouches for nobody", "tests/gateway/shadow.rs", "a_live_application_goes_on_as_before_and_the_report_names_who_has_no_credential"),
    ("enforce: log logs", "tests/gateway/shadow.rs", "what_would_be_refused_is_logged_as_shadow"),
    ("enforce: log counts", "tests/gateway/metrics.rs", "what_would_be_refused_is_counted_apart"),
    ("enforce: what would be refused is listed by route, rule and credential", "tests/beside/mod.rs", "refused_lists_by_route_rule_and_credential"),
    ("enforce: off passes everything, strips and writes nothing down", "tests/gateway/shadow.rs", "where_rules_are_off_nothing_is_written_down"),
    ("enforce: log and off are warned of at every start", "src/config/tests/mod.rs", "enforce_log_and_off_are_warned_of_at_every_start"),
    ("enforce: a store that is down passes as nobody or is 503", "tests/gateway/shadow.rs", "while_the_store_is_down_requests_pass_as_nobody_where_rules_only_log_and_are_503_where_they_count"),
    ("explanation: every rule that was tried and why", "src/gate/tests.rs", "an_explanation_tells_every_rule_that_was_tried_and_why"),
    ("explanation: agrees with the decision", "src/gate/agreement_tests.rs", "explanation_and_decision_agree_on_a_hundred_thousand_random_requests"),
    ("explanation: agrees with what the gate does for real credentials", "src/gate/agreement_tests.rs", "explanations_agree_with_ten_thousand_requests_through_the_real_gate"),
    ("explanation: agrees with what happens", "tests/gateway/explain.rs", "what_the_api_says_is_what_happens"),
    ("explanation: by header, for admins who ask", "tests/gateway/explain.rs", "an_admin_who_asks_is_told_why_and_nobody_else_is"),
    ("explanation: by the API, for admins", "tests/gateway/explain.rs", "the_api_explains_requests_that_were_never_made_to_admins_only"),
    ("explanation: by command", "tests/command_line.rs", "explain_tells_what_a_role_a_user_and_a_key_may_do_and_why"),
    ("answer: programs get 401, browsers the login page and the way back", "tests/gateway/credentials.rs", "without_a_credential_programs_get_401_and_browsers_the_login_page"),
    ("answer: whoever navigates is told from programs", "src/edge/audience.rs", "a_person_who_navigates_gets_pages"),
    ("answer: programs and scripts are never redirected", "src/edge/audience.rs", "programs_and_scripts_never_get_redirected"),
    ("answer: a request with Authorization is never redirected", "src/edge/audience.rs", "a_request_with_authorization_is_never_redirected"),
    ("answer: the whole target is come back to", "tests/gateway/behind_proxy.rs", "a_deep_link_is_kept_through_the_sign_in"),
    ("answer: each refusal has its status, code and gRPC status", "src/edge/pages/problem/tests.rs", "every_refusal_has_its_status_and_grpc_code"),
    ("answer: gRPC is refused by trailers alone", "tests/gateway/grpc.rs", "grpc_passes_with_its_trailers_and_is_refused_in_its_own_words"),
    ("answer: gRPC is 14 while the store is down", "tests/gateway/grpc.rs", "grpc_while_the_store_is_down_is_unavailable_and_reaches_nobody"),
    ("answer: a store that is down is 503, never 401 nor an allow", "tests/gateway/failure.rs", "a_store_that_fails_is_503_for_all_but_open_paths_and_never_an_allow"),
    ("answer: no fault is an allow to another proxy", "tests/gateway/forward_auth.rs", "no_fault_ever_becomes_a_2xx"),
    ("identity: no client's copy passes in any spelling, with any preset", "tests/attacks/identity.rs", "no_spelling_of_any_identity_header_passes_with_any_preset"),
    ("identity: nor over HTTP/2", "tests/attacks/identity.rs", "no_spelling_passes_over_http2"),
    ("identity: nor doubled, listed or empty", "tests/attacks/identity.rs", "repeated_empty_and_listed_values_leave_exactly_our_line"),
    ("identity: nor does Connection take ours away", "tests/attacks/identity.rs", "connection_cannot_take_our_headers_away"),
    ("identity: nor in trailers", "tests/attacks/identity.rs", "trailers_carry_neither_identity_nor_credentials"),
    ("identity: every preset and name is among the attacks", "tests/attacks/identity.rs", "every_preset_is_attacked_and_every_name_it_sets"),
    ("identity: every name that is set anywhere is managed everywhere", "src/gate/identity_headers/managed.rs", "every_name_a_preset_or_a_template_sets_is_managed_in_every_alias"),
    ("identity: each preset says exactly its names, of somebody and of nobody", "tests/gateway/header_templates.rs", "each_preset_says_exactly_its_names"),
    ("identity: one value each, encoded where it is not visible ASCII", "tests/attacks/identity.rs", "names_and_groups_with_odd_characters_stay_one_encoded_line"),
    ("identity: templates say what is known and nothing by halves", "tests/gateway/header_templates.rs", "a_tenant_is_what_the_groups_say_and_never_what_the_client_says"),
    ("identity: an allow to another proxy carries every header", "tests/gateway/forward_auth.rs", "an_allow_carries_every_identity_header_whatever_the_client_sent"),
    ("signature: an assertion verifies with the published keys", "tests/gateway/minted.rs", "an_assertion_names_the_caller_and_verifies_with_the_published_keys"),
    ("signature: keys follow one another with overlap", "tests/gateway/minted.rs", "keys_follow_one_another_with_overlap_and_replicas_agree"),
    ("signature: an assertion is for five minutes at most", "src/config/tests/identity.rs", "each_mistake_about_a_signature_is_named"),
    ("signature: a minted bearer of each algorithm verifies, and for its own upstream alone", "tests/gateway/minted.rs", "a_minted_bearer_of_each_algorithm_verifies_with_the_published_keys"),
    ("signature: a minted bearer has its own issuer, audience, lifetime and claims", "tests/gateway/minted.rs", "a_minted_bearer_replaces_whatever_the_client_proved_itself_with"),
    ("attribution: whoever may act for users is believed, and named", "tests/gateway/attribution.rs", "a_service_that_may_say_so_is_believed_and_named"),
    ("attribution: nobody else is", "tests/gateway/attribution.rs", "nobody_else_is_believed"),
    ("attribution: it widens no right", "tests/gateway/attribution.rs", "acting_for_an_admin_opens_nothing"),
    ("attribution: a switch forwards none", "tests/gateway/attribution.rs", "an_upstream_that_is_to_know_nothing_is_told_nothing"),
];

/// The names of the tests in a file.
fn tests_in(text: &str) -> Vec<&str> {
    let (mut names, mut marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            marked = true;
        } else if marked && let Some((_, name)) = line.split_once("fn ") {
            names.push(word(name));
            marked = false;
        }
    }
    names
}

#[test]
fn every_rule_of_the_line_has_its_test() {
    let mut files = BTreeMap::new();
    let missing = RULES.iter().filter_map(|(rule, file, name)| {
        let text =
            files.entry(*file).or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
        (!tests_in(text).contains(name)).then(|| format!("{rule}: no test {name} in {file}"))
    });
    assert_none(missing);
    let topic = |rule: &'static str| rule.split_once(": ").map(|(topic, _)| topic);
    assert_none(
        RULES
            .iter()
            .filter(|(rule, ..)| !TOPICS.iter().any(|known| topic(rule) == Some(known)))
            .map(|(rule, ..)| format!("{rule}: of no topic")),
    );
    for known in TOPICS {
        assert!(RULES.iter().any(|(rule, ..)| topic(rule) == Some(known)), "nothing is said of the {known}");
    }
    let mut rules: Vec<_> = RULES.iter().map(|(rule, ..)| *rule).collect();
    rules.sort_unstable();
    assert_none(
        rules.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("{} stands twice", pair[0])),
    );
}

#[test]
fn a_function_that_is_no_test_is_none() {
    let text = "#[tokio::test(flavor = \"multi_thread\")]\nasync fn one() {}\nfn two() {}\n    #[test]\n    #[ignore]\n    fn three() {}\n";
    assert_eq!(tests_in(text), ["one", "three"]);
}
