//! The look of our own pages, and what would make them unreadable.

use super::*;
use crate::model::color::Color;
use crate::model::color::READABLE;

const SVG: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>";
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0";

/// Exactly one problem, at this setting, that says all of this.
#[track_caller]
fn check(setting: &str, value: &str, said: &[&str]) {
    let text = format!("[pages]\n{setting} = {value}");
    let problem = only_problem(&text);
    assert_eq!((problem.path.as_str(), problem.location.line()), (&*format!("pages.{setting}"), Some(2)));
    for said in said {
        assert!(problem.to_string().contains(said), "{said} is not in {problem}");
    }
}

fn with_logo(bytes: &[u8]) -> Result<Config, ConfigError> {
    let config_dir = ConfigDir::new(&with_least("[pages]\nlogo = \"logo\""));
    std::fs::write(config_dir.path("logo"), bytes).unwrap();
    config_dir.load()
}

#[track_caller]
fn check_logo(bytes: &[u8], said: &str) {
    let problems = with_logo(bytes).unwrap_err().0;
    let [problem] = problems.as_slice() else { panic!("one problem expected: {problems:#?}") };
    assert_eq!(problem.path, "pages.logo");
    assert!(problem.to_string().contains(said), "{problem}");
}

fn colors(text: &str) -> [Option<String>; 2] {
    let pages = good(&format!("[pages]\n{text}")).pages;
    [pages.color, pages.color_dark].map(|color| color.map(|color| color.to_string()))
}

#[test]
fn pages_are_called_doorward_unless_they_have_another_name() {
    let pages = good("").pages;
    assert_eq!((pages.name.as_str(), pages.color, pages.color_dark), ("Doorward", None, None));
    assert!(pages.logo.is_none());
    let longest = "x".repeat(64);
    for name in ["Ops", "Zoë & <b>friends</b>", "運用 👩‍🚀", &longest] {
        assert_eq!(good(&format!("[pages]\nname = \"{name}\"")).pages.name, name);
    }
    let too_long = "x".repeat(65);
    for name in ["", " ", "Ops ", "a\\nb", "a\\u0000", "\\u200b", "a\\u202Eb", &too_long] {
        check("name", &format!("\"{name}\""), &["1 to 64 visible characters"]);
    }
    check("name", "7", &["a number", "1 to 64", "Example Dashboards"]);
}

#[test]
fn what_is_no_color_is_refused() {
    for text in ["", "blue", "#fff", "1d4ed8", "#1d4ed8ff", "#1d4edg", "#1d4ed8; } body { display: none"] {
        check("color", &format!("\"{text}\""), &["is not a colour", "#1d4ed8"]);
        check("color_dark", &format!("\"{text}\""), &["is not a colour"]);
    }
    check("color", "255", &["a number", "#rrggbb"]);
}

#[test]
fn a_color_that_could_not_be_read_is_refused_with_its_contrast_and_a_better_one() {
    for (setting, value, said) in [
        (
            "color",
            "#ff6600",
            ["2.91:1 with a light page (#fffefb)", "needs 4.5:1", "write a darker colour, such as"],
        ),
        ("color", "#ffffff", ["1.00:1", "4.5:1", "darker"]),
        (
            "color_dark",
            "#1d4ed8",
            ["2.45:1 with a dark page (#18211f)", "needs 4.5:1", "write a lighter colour"],
        ),
        ("color_dark", "#000000", ["1.27:1", "4.5:1", "lighter"]),
    ] {
        check(setting, &format!("\"{value}\""), &said);
        // What is proposed is taken.
        let problem = bad(&format!("[pages]\n{setting} = \"{value}\"")).remove(0);
        let proposed = problem.remedy.split('"').nth(1).unwrap().to_owned();
        let [light, dark] = colors(&format!("{setting} = \"{proposed}\""));
        assert_eq!(if setting == "color" { light } else { dark }, Some(proposed));
    }
    let both = bad("[pages]\ncolor = \"#ffff00\"\ncolor_dark = \"#000033\"");
    let paths: Vec<&str> = both.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["pages.color", "pages.color_dark"]);
}

#[test]
fn the_dark_color_is_a_lighter_shade_unless_it_is_written() {
    let [light, dark] = colors("color = \"#1D4ED8\"").map(Option::unwrap);
    assert_eq!(light, "#1d4ed8");
    let dark = Color::parse(&dark).unwrap();
    assert!((READABLE..4.7).contains(&dark.contrast(DARK_PAGE)), "{dark}");
    let written = colors("color = \"#1d4ed8\"\ncolor_dark = \"#93b4fd\"").map(Option::unwrap);
    assert_eq!(written, ["#1d4ed8", "#93b4fd"]);
    assert_eq!(colors("color_dark = \"#93b4fd\""), [None, Some("#93b4fd".to_owned())]);
}

#[test]
fn a_logo_is_what_its_first_bytes_say() {
    let begun = "\u{feff}<?xml version=\"1.0\"?>\n<!-- a > b -->\r\n<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"x\">\n";
    for (bytes, format) in [
        (SVG.as_bytes().to_vec(), LogoFormat::Svg),
        (format!("{begun}{SVG}").into_bytes(), LogoFormat::Svg),
        (PNG.to_vec(), LogoFormat::Png),
    ] {
        let logo = with_logo(&bytes).unwrap().pages.logo.unwrap();
        assert_eq!((logo.format, &logo.bytes[..]), (format, &bytes[..]));
    }
    let entities = format!("<!DOCTYPE svg [<!ENTITY a \"aaaa\">]>{SVG}");
    let html = format!("<html>{SVG}</html>");
    let others: [&[u8]; 9] = [
        b"",
        b"GIF89a",
        b"\x1f\x8b\x08",
        b"<svgs/>",
        b"<!-- <svg> ",
        b"\x89PNG\r\n\x1a\n",
        b"<svg \xff/>",
        entities.as_bytes(),
        html.as_bytes(),
    ];
    for bytes in others {
        check_logo(bytes, "neither SVG nor PNG");
    }
}

#[test]
fn a_logo_is_a_file_of_bounded_size() {
    const MOST: usize = 256 * 1024;
    let sized = |size: usize| [PNG, &vec![0; size - PNG.len()]].concat();
    assert!(with_logo(&sized(MOST)).is_ok());
    check_logo(&sized(MOST + 1), "larger than 256 KiB");
    check("logo", "\"nowhere.svg\"", &["cannot be read", "check its name"]);
    check("logo", "\".\"", &["not a regular file"]);
    check("logo", "[1]", &["a list", "SVG or PNG"]);
}

#[test]
fn settings_print_by_what_the_logo_is_without_its_bytes() {
    let printed = [SVG.to_owned(), format!("{SVG} ")]
        .map(|svg| format!("{:?}", with_logo(svg.as_bytes()).unwrap().pages.logo));
    assert!(printed[0] != printed[1] && !printed[0].contains("svg xmlns"), "{printed:?}");
}
