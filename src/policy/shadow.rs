//! Which rules, and which words of a rule, never decide because earlier rules do.
//!
//! What is said here is true of every request whose client's address is known. Not everything that is true is said:
//! each part of a rule is compared with one earlier rule at a time, but for methods, which several may share.

use http::Method;
use ipnet::IpNet;

use super::graphql::{GraphqlMatch, Selects};
use super::path::PathPattern;
use super::reading::RequestReading;
use super::rule::{Conditions, GrpcPattern, MethodMatch, Rule};
use super::who::Who;
use crate::model::graphql::OperationType;
use crate::model::target::{RequestKind, RequestTarget, UNSAID};

/// Parts of a rule that are compared; a rule with more is not looked at.
const MOST_CELLS: usize = 4096;

/// A rule, or a word of one, that never decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreachableRule {
    /// The setting and the word in it; `None`: the whole rule.
    pub word: Option<(&'static str, String)>,
    /// The rules that decide before it, by name and in order.
    pub by: Vec<String>,
}

/// What of `rule` never decides where the rules `earlier` are tried before it.
pub fn shadowed(earlier: &[Rule], rule: &Rule) -> Vec<UnreachableRule> {
    let classes = classes(earlier.iter().chain([rule]));
    let Some(cells) = cells(rule, &classes) else { return Vec::new() };
    let look = RuleComparison { earlier, rule };
    let of = |word: Option<(&'static str, String)>, by: Option<Vec<String>>| {
        by.map(|by| UnreachableRule { word, by })
    };
    if let Some(whole) = of(None, look.silent(cells.iter())) {
        return vec![whole];
    }
    let denied: Vec<_> = rule.deny.iter().map(|who| (who, look.silent_for(&cells, who))).collect();
    if rule.allow.is_empty() && !denied.is_empty() && denied.iter().all(|(_, by)| by.is_some()) {
        let mut by: Vec<String> = denied.into_iter().filter_map(|(_, by)| by).flatten().collect();
        by.dedup();
        return vec![UnreachableRule { word: None, by }];
    }
    let mut found = Vec::new();
    let Conditions { hosts, paths, methods, graphql, grpc, networks, .. } = &rule.when;
    let mut words = |setting, texts: Vec<String>, has: &dyn Fn(&RequestClass<'_>, usize) -> bool| {
        for (at, text) in texts.into_iter().enumerate() {
            found.extend(of(Some((setting, text)), look.silent(cells.iter().filter(|cell| has(cell, at)))));
        }
    };
    words("host", texts(hosts), &|cell, at| cell.host == hosts.get(at).map(String::as_str));
    words("path", texts(paths), &|cell, at| cell.path == paths.get(at));
    words("methods", texts(methods), &|cell, at| {
        methods.get(at).is_some_and(|method| method.fits(RequestReading::of(cell.class)))
    });
    if let Some(graphql) = graphql {
        words("graphql", texts(&graphql.kinds), &|cell, at| {
            let mut kinds = graphql.kinds.get(at).into_iter().flat_map(|kind| kinds_of(graphql, *kind));
            kinds.any(|kind| cell.operation == Some(kind))
        });
    }
    words("grpc", texts(grpc), &|cell, at| cell.grpc == grpc.get(at));
    words("networks", texts(networks), &|cell, at| cell.network == networks.get(at));
    for (who, by) in denied {
        found.extend(of(Some(("deny", who.to_string())), by));
    }
    for who in &rule.allow {
        let own = rule.deny.iter().any(|denied| denied.covers(who)).then(|| vec![rule.name.clone()]);
        let by = own.or_else(|| look.silent_for(&cells, who));
        found.extend(of(Some(("allow", who.to_string())), by));
    }
    found
}

/// Requests that all conditions of a rule take alike: one word of each.
#[derive(Clone, Copy)]
struct RequestClass<'r> {
    class: &'r RequestTarget,
    host: Option<&'r str>,
    path: Option<&'r PathPattern>,
    operation: Option<OperationType>,
    grpc: Option<&'r GrpcPattern>,
    network: Option<&'r IpNet>,
}

struct RuleComparison<'r> {
    earlier: &'r [Rule],
    rule: &'r Rule,
}

impl RuleComparison<'_> {
    /// The rules that decide for everybody in each of these cells; `None` if one is left, or there are none.
    fn silent<'c>(&self, cells: impl Iterator<Item = &'c RequestClass<'c>>) -> Option<Vec<String>> {
        self.before(cells, |rule| !rule.allow.is_empty() || rule.deny.contains(&Who::Anyone))
    }

    /// The same for those whom a word names.
    fn silent_for(&self, cells: &[RequestClass<'_>], who: &Who) -> Option<Vec<String>> {
        self.before(cells.iter(), |rule| {
            !rule.allow.is_empty() || rule.deny.iter().any(|denied| denied.covers(who))
        })
    }

    fn before<'c>(
        &self,
        cells: impl Iterator<Item = &'c RequestClass<'c>>,
        decides: impl Fn(&Rule) -> bool,
    ) -> Option<Vec<String>> {
        let mut deciding = vec![false; self.earlier.len()];
        for cell in cells {
            let at =
                self.earlier.iter().position(|rule| decides(rule) && covers(&rule.when, cell, self.rule))?;
            *deciding.get_mut(at)? = true;
        }
        let by: Vec<String> = self
            .earlier
            .iter()
            .zip(deciding)
            .filter(|(_, deciding)| *deciding)
            .map(|(rule, _)| rule.name.clone())
            .collect();
        (!by.is_empty()).then_some(by)
    }
}

/// Whether conditions hold for every request of a cell of `rule`.
fn covers(when: &Conditions, cell: &RequestClass<'_>, rule: &Rule) -> bool {
    let paths = when.paths.is_empty()
        || cell.path.is_some_and(|inner| when.paths.iter().any(|outer| outer.includes(inner)));
    let methods = when.methods.is_empty()
        || when.methods.iter().any(|method| method.fits(RequestReading::of(cell.class)));
    let hosts =
        when.hosts.is_empty() || cell.host.is_some_and(|host| when.hosts.iter().any(|own| own == host));
    let grpc = when.grpc.is_empty()
        || cell.grpc.is_some_and(|inner| when.grpc.iter().any(|outer| outer.includes(inner)));
    let networks = when.networks.is_empty()
        || cell.network.is_some_and(|inner| when.networks.iter().any(|outer| outer.contains(inner)));
    let graphql = when.graphql.as_ref().is_none_or(|outer| {
        let inner = rule.when.graphql.as_ref().map(|inner| &inner.selects);
        cell.operation.is_some_and(|kind| outer.kinds.contains(&kind)) && selects_all(&outer.selects, inner)
    });
    // What is only perhaps in a query is not decided alone.
    let query = when.query.is_empty();
    let mcp =
        when.mcp.as_ref().is_none_or(|outer| rule.when.mcp.as_ref().is_some_and(|inner| outer.covers(inner)));
    paths && methods && hosts && grpc && networks && query && graphql && mcp
}

/// Whether a rule about what is selected decides alone wherever one about `inner` speaks.
fn selects_all(outer: &Selects, inner: Option<&Selects>) -> bool {
    match (outer, inner) {
        (Selects::Anything, _) => true,
        (Selects::Every(outer) | Selects::Any(outer), Some(Selects::Every(inner))) => {
            inner.iter().all(|field| outer.contains(field))
        }
        _ => false,
    }
}

/// Types of operations that the requests can have for which a rule speaks that names `kind`.
fn kinds_of(graphql: &GraphqlMatch, kind: OperationType) -> impl Iterator<Item = OperationType> + use<> {
    let strictest_counts = matches!(graphql.selects, Selects::Any(_) | Selects::Mentions(_));
    OperationType::ALL.into_iter().filter(move |own| *own == kind || (strictest_counts && kind < *own))
}

/// A request of every class that method words tell apart: each method that is named, one that is not, and every kind.
fn classes<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<RequestTarget> {
    let mut methods: Vec<Method> = vec![Method::GET, Method::OPTIONS];
    methods.extend(Method::from_bytes(UNSAID.as_bytes()));
    methods.extend(rules.flat_map(|rule| &rule.when.methods).filter_map(MethodMatch::method).cloned());
    methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    methods.dedup();
    let root = http::uri::PathAndQuery::from_static("/");
    let kinds = [RequestKind::Plain, RequestKind::Grpc, RequestKind::Upgrade, RequestKind::WebSocket];
    let pairs = methods.iter().flat_map(|method| kinds.map(|kind| (method, kind)));
    // A WebSocket handshake is a GET (RFC 6455, 4.1).
    let possible = pairs.filter(|(method, kind)| *kind != RequestKind::WebSocket || **method == Method::GET);
    possible.filter_map(|(method, kind)| RequestTarget::parse(method, "host", &root, kind).ok()).collect()
}

/// Every cell of a rule; `None` if there are too many.
fn cells<'r>(rule: &'r Rule, classes: &'r [RequestTarget]) -> Option<Vec<RequestClass<'r>>> {
    fn or_any<T: Copy>(items: impl Iterator<Item = T>) -> Vec<Option<T>> {
        let items: Vec<Option<T>> = items.map(Some).collect();
        if items.is_empty() { vec![None] } else { items }
    }
    let when = &rule.when;
    let fits = |class: &&RequestTarget| {
        when.methods.is_empty() || when.methods.iter().any(|method| method.fits(RequestReading::of(class)))
    };
    let classes: Vec<&RequestTarget> = classes.iter().filter(fits).collect();
    let hosts = or_any(when.hosts.iter().map(String::as_str));
    let paths = or_any(when.paths.iter());
    let operations = or_any(when.graphql.iter().flat_map(|graphql| {
        let named = move |kind: &OperationType| {
            graphql.kinds.iter().any(|own| kinds_of(graphql, *own).any(|k| k == *kind))
        };
        OperationType::ALL.into_iter().filter(named)
    }));
    let grpc = or_any(when.grpc.iter());
    let networks = or_any(when.networks.iter());
    let lengths = [classes.len(), hosts.len(), paths.len(), operations.len(), grpc.len(), networks.len()];
    let count = lengths.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))?;
    if count > MOST_CELLS {
        return None;
    }
    let mut cells = Vec::with_capacity(count);
    for class in classes {
        for &host in &hosts {
            for &path in &paths {
                for &operation in &operations {
                    for &grpc in &grpc {
                        cells.extend(networks.iter().map(|&network| RequestClass {
                            class,
                            host,
                            path,
                            operation,
                            grpc,
                            network,
                        }));
                    }
                }
            }
        }
    }
    Some(cells)
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::graphql::Operation;
    use crate::model::principal::{Caller, ClientAddress, Principal, PrincipalKind};
    use crate::model::role::Role;
    use crate::model::user::UserId;
    use crate::policy::{Decision, Enforce, Facts, GraphqlMatch, Policy};

    /// `name | methods | paths | graphql | networks | hosts | allow | deny`, words apart by blanks.
    fn rule(text: &str) -> Rule {
        let mut parts = text.split('|').map(str::trim);
        let mut next = || parts.next().unwrap_or_default();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let name = next().to_owned();
        let methods = words(next()).iter().map(|word| MethodMatch::parse(word).unwrap()).collect();
        let paths = words(next()).iter().map(|word| PathPattern::parse(word).unwrap()).collect();
        let graphql = words(next());
        let networks = words(next()).iter().map(|word| word.parse().unwrap()).collect();
        let hosts = words(next());
        let who = |text: &str| words(text).iter().map(|word| Who::parse(word).unwrap()).collect::<Vec<_>>();
        let (allow, deny) = (who(next()), who(next()));
        let kind = |word: &String| match word.as_str() {
            "query" => Some(OperationType::Query),
            "mutation" => Some(OperationType::Mutation),
            _ => None,
        };
        let graphql = (!graphql.is_empty()).then(|| GraphqlMatch {
            kinds: graphql.iter().filter_map(kind).collect(),
            selects: match graphql.iter().filter(|word| kind(word).is_none()).cloned().collect::<Vec<_>>() {
                fields if fields.is_empty() => Selects::Anything,
                fields => Selects::Every(fields),
            },
        });
        let when = Conditions { hosts, paths, methods, graphql, networks, ..Conditions::default() };
        Rule { name, when, allow, deny, enforce: Enforce::On }
    }

    /// The report on the last rule: `whole` or `setting word`, each with who decides before it.
    fn said(texts: &[&str]) -> Vec<String> {
        let rules: Vec<Rule> = texts.iter().map(|text| rule(text)).collect();
        let (last, earlier) = rules.split_last().unwrap();
        let say = |found: UnreachableRule| {
            let word = found.word.map_or("whole".to_owned(), |(setting, word)| format!("{setting} {word}"));
            format!("{word}: {}", found.by.join(" "))
        };
        shadowed(earlier, last).into_iter().map(say).collect()
    }

    #[test]
    fn rules_and_words_that_never_decide_are_found() {
        for (rules, expected) in [
            (&["a|||||| viewer", "b| write ||||| member"][..], &["whole: a"][..]),
            (&["r| read ||||| viewer", "w| write ||||| member", "b|||||| admin"], &["whole: r w"]),
            (&["a||/api||||viewer", "b|GET|/api/v1 /api/**/x||||admin"], &["whole: a"]),
            (&["a||/api||||viewer", "b||/api/v1 /other||||admin"], &["path /api/v1: a"]),
            (&["a|read|||||viewer", "b|GET POST|||||admin"], &["methods GET: a"]),
            (&["a|||query|||viewer", "b|||query mutation|||member"], &["graphql query: a"]),
            (&["a|||query|||viewer", "b|||query me|||member"], &["whole: a"]),
            (&["a||||10.0.0.0/8||viewer", "b||||10.1.0.0/16 ::1/128||admin"], &["networks 10.1.0.0/16: a"]),
            (&["a|||||x.example|viewer", "b|||||x.example y.example|admin"], &["host x.example: a"]),
            (&["a|||||||anyone", "b||/x||||viewer"], &["whole: a"]),
            (&["a|||||||viewer", "b||||||admin group:x|"], &["allow admin: a"]),
            (&["a|||||||signed-in", "b|||||||member"], &["whole: a"]),
            (&["a||||||viewer admin|member"], &["allow admin: a"]),
        ] {
            assert_eq!(said(rules), expected, "{rules:?}");
        }
    }

    #[test]
    fn what_can_decide_is_never_said_to_be_dead() {
        for rules in [
            &["a|read|||||viewer", "b|||||| admin"][..],
            &["a|read|||||viewer", "b|POST GET PUT|/x|||||", "c|write|||||member"],
            &["a||/api||||viewer", "b||/||||admin"],
            &["a||/api||||viewer", "b||/apis /API||||admin"],
            &["a|||query|||viewer", "b|||mutation|||member", "c||||||admin"],
            &["a|||query me|||viewer", "b|||query|||member"],
            &["a|||query me|||viewer", "b|||query me you|||member"],
            &["a||||10.0.0.0/8||viewer", "b||||10.0.0.0/7||viewer"],
            &["a|||||||viewer", "b|||||| anyone"],
            &["a|||||||admin", "b|||||| viewer"],
            &["a|||||||signed-in", "b||||||agent group:x"],
            &["a||/x|||||anyone", "b||||||viewer"],
            &["a|||||x.example|viewer", "b||||||viewer"],
        ] {
            assert_eq!(said(rules), Vec::<String>::new(), "{rules:?}");
        }
    }

    fn without(rule: &Rule, found: &UnreachableRule) -> Option<Rule> {
        let (setting, word) = found.word.as_ref()?;
        let mut rule = rule.clone();
        let nobody = || Who::Group("nobody is in it".into());
        match *setting {
            "host" => rule.when.hosts.retain(|own| own != word),
            "path" => rule.when.paths.retain(|own| own.as_str() != word),
            "methods" => rule.when.methods.retain(|own| own.to_string() != *word),
            "graphql" => {
                rule.when
                    .graphql
                    .iter_mut()
                    .for_each(|own| own.kinds.retain(|kind| kind.to_string() != *word));
            }
            "networks" => rule.when.networks.retain(|own| own.to_string() != *word),
            "allow" => {
                rule.allow.iter_mut().filter(|own| own.to_string() == *word).for_each(|own| *own = nobody());
            }
            "deny" => {
                rule.deny.iter_mut().filter(|own| own.to_string() == *word).for_each(|own| *own = nobody());
            }
            other => panic!("{other}"),
        }
        Some(rule)
    }

    /// Random rules, random requests: without what is said to be dead everything is decided as before.
    #[test]
    fn what_is_said_to_be_dead_can_be_left_out() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut below = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound as u64).unwrap()
        };
        let principal = |role| Principal::example(PrincipalKind::User(UserId("u".into())), "u", role);
        let callers: Vec<Principal> =
            [Role::Viewer, Role::Member, Role::Admin, Role::Agent].map(principal).to_vec();
        let operations = [OperationType::Query, OperationType::Mutation, OperationType::Subscription];
        let (mut whole, mut words) = (0, 0);
        for _ in 0..800 {
            let mut pick = |list: &[&str]| list[below(list.len())].to_owned();
            let mut some = |list: &[&str]| format!("{} {}", pick(list), pick(list));
            let rules: Vec<Rule> = (0..4)
                .map(|number| {
                    let methods = some(&["", "", "", "read", "write", "websocket", "GET", "POST", "PURGE"]);
                    let paths = some(&["", "", "", "/a", "/a/b", "/A", "/a/*/c", "/a/**", "/**/c"]);
                    let graphql = some(&["", "", "", "", "", "query", "mutation"]);
                    let networks = some(&["", "", "", "10.0.0.0/8", "10.1.0.0/16"]);
                    let hosts = some(&["", "", "", "x.example", "y.example"]);
                    let allow = some(&["", "anyone", "signed-in", "viewer", "member", "admin", "agent"]);
                    let deny = some(&["", "", "", "anyone", "signed-in", "member"]);
                    rule(&format!("r{number}|{methods}|{paths}|{graphql}|{networks}|{hosts}|{allow}|{deny}"))
                })
                .collect();
            let found: Vec<(usize, UnreachableRule)> = (1..4)
                .flat_map(|at| shadowed(&rules[..at], &rules[at]).into_iter().map(move |found| (at, found)))
                .collect();
            for (at, found) in found {
                let mut changed = rules.clone();
                if let Some(rule) = without(&rules[at], &found) {
                    words += 1;
                    changed[at] = rule;
                } else {
                    whole += 1;
                    changed.remove(at);
                }
                let (before, after) = (
                    Policy { rules: rules.clone(), enforce: Enforce::On },
                    Policy { rules: changed, enforce: Enforce::On },
                );
                for _ in 0..60 {
                    let mut pick = |list: &[&str]| list[below(list.len())].to_owned();
                    let method = pick(&["GET", "HEAD", "OPTIONS", "POST", "PURGE", "PUT", UNSAID]);
                    let path = pick(&["/", "/a", "/A", "/a/b", "/a/x/c", "/A/b", "/c", "/x/c", "/b"]);
                    let (host, client) = (
                        pick(&["x.example", "y.example", "z"]),
                        pick(&["10.0.0.1", "10.1.0.1", "192.0.2.1"]),
                    );
                    let kinds = [
                        RequestKind::Plain,
                        RequestKind::Plain,
                        RequestKind::Grpc,
                        RequestKind::Upgrade,
                        RequestKind::WebSocket,
                    ];
                    let kind = kinds[below(kinds.len())];
                    let method =
                        if kind == RequestKind::WebSocket { Method::GET } else { method.parse().unwrap() };
                    let target = RequestTarget::parse(&method, &host, &path.parse().unwrap(), kind).unwrap();
                    let operation =
                        operations.get(below(4)).map(|kind| Operation { kind: *kind, ..Operation::UNKNOWN });
                    let client: ClientAddress = client.parse().unwrap();
                    let facts = Facts { target: &target, client, graphql: operation.as_ref(), mcp: &[] };
                    let caller = callers.get(below(5)).map_or(Caller::Anonymous, Caller::Known);
                    let of = |policy: &Policy| {
                        let Decision { outcome, rule, enforce } = policy.evaluate(caller, &facts, &mut ());
                        (outcome, rule.map(str::to_owned), enforce)
                    };
                    assert_eq!(of(&before), of(&after), "{found:?}\n{rules:?}\n{facts:?}\n{caller:?}");
                }
            }
        }
        assert!(whole > 100 && words > 100, "{whole} {words}");
    }
}
