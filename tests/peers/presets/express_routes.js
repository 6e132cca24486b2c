// The routes of an Express application, from the parts that it keeps of itself; with what each handler's `permission` says.
const below = new Map(); // applications by the one they are used by

const permission = (handle) => (handle && handle.permission !== undefined ? [handle.permission] : []);

// Sees which applications use which; before anything else is made with this Express.
exports.watch = (express) => {
  const use = express.application.use;
  express.application.use = function (...given) {
    const at = typeof given[0] === "string" ? given[0] : "";
    const used = given.flat().filter((one) => one && one.handle && one.set);
    below.set(this, [...(below.get(this) || []), ...used.map((one) => [at, one, given.flatMap(permission)])]);
    return use.apply(this, given);
  };
};

// A route's path, or a pattern, with placeholders; of one with optional parts, each form.
function written(route) {
  const text = route instanceof RegExp ? route.source.replaceAll("\\", "") : String(route);
  const groups = [["(?:$|/(.*))", "/{rest}"], ["((@[^/]+/)?[^/]+/[^/]+)", "{module}/{set}"], ["((@[^/]+/)?[^/]+)", "{module}"],
    ["((?:@[^/]+/)?[^/]+)", "{module}"], ["([^/]+)", "{name}"], ["(.*)", "{rest}"], ["(.+)", "{rest}"], ["/?*", "/{rest}"]];
  const plain = groups.reduce((path, [group, name]) => path.replaceAll(group, name), text.replace(/^\^|\$$/g, ""));
  const named = plain.replace(/:(\w+)(\([^)]*\))?/g, "{$1}").replace(/\*$/, "{rest}").replaceAll("/*/", "/{rest}/").replace(/\/\?$/, "");
  return optional(named);
}

// `/a(/b)?` and `/{a}/{b}?/{c}?`.
function optional(path) {
  const group = path.match(/^(.*)\(([^()]*)\)\?(.*)$/);
  if (group) return [group[1] + group[3], group[1] + group[2] + group[3]];
  const [first, ...more] = path.split("?");
  const without = more.length ? [first.slice(0, first.lastIndexOf("/"))] : [];
  return more.filter(Boolean).reduce((forms, part) => [...forms, forms.at(-1) + part], [...without, first]);
}

function* routes(stack, before) {
  for (const layer of stack) {
    if (layer.route) {
      const permissions = layer.route.stack.flatMap((one) => permission(one.handle));
      const paths = [layer.route.path].flat().flatMap(written);
      for (const method of Object.keys(layer.route.methods)) {
        yield* paths.map((path) => [method.toUpperCase(), before + path, permissions]);
      }
    } else if (layer.handle.stack) {
      const mount = layer.regexp.fast_slash ? "" : layer.regexp.source.replace(/\\\/\?\(\?=.*$/, "").replace(/^\^/, "").replaceAll("\\", "");
      yield* routes(layer.handle.stack, before + mount);
    }
  }
}

function* routesOf(app, before) {
  yield* routes(app._router ? app._router.stack : [], before);
  for (const [at, one, wanted] of below.get(app) || []) {
    for (const [method, path, permissions] of routesOf(one, before + at)) yield [method, path, [...wanted, ...permissions]];
  }
}

// Those with the usual methods, each once, as `surface.rs` reads them.
exports.answers = (app, demands) => {
  const found = new Map();
  for (const [method, at, permissions] of routesOf(app, "")) {
    const path = at.replace(/\/+/g, "/").replace(/(.)\/$/, "$1") || "/";
    if (["GET", "POST", "PUT", "PATCH", "DELETE"].includes(method)) {
      found.set(`${method} ${path}`, { method, path, demands: demands(permissions) });
    }
  }
  return [...found.values()];
};
