package gateway

import (
	"cmp"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// Route is a line of the route table: who may use it is its guard's name.
type Route struct{ Method, Path, Guard string }

// Routes lists every route that a gateway answers, pages and JSON API, in the order of paths and methods. The list is
// the router's own, so that none is missing; one that was added without a guard has none here. It is for those who hold
// the doors to it: it needs nothing that runs.
func Routes() []Route {
	g := &gateway{}
	app := g.newApp()
	g.routeAPI(app, newAPI(app))
	g.routePages(app)
	var out []Route
	for _, r := range app.GetRoutes(true) {
		method := r.Method
		if method == fiber.MethodHead {
			method = fiber.MethodGet // Fiber adds it to each
		}
		out = append(out, Route{Method: r.Method, Path: r.Path, Guard: g.guards[method+" "+r.Path]})
	}
	slices.SortFunc(out, func(a, b Route) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method)) })
	return out
}

// Description is the OpenAPI description of the JSON API. Like [Routes] it needs nothing that runs.
func Description() ([]byte, error) {
	g := &gateway{}
	app := g.newApp()
	api := newAPI(app)
	g.routeAPI(app, api)
	return api.OpenAPI().MarshalJSON()
}

// guarded notes which guard stands before a route, for [Routes], and that its answers are measured. It takes paths of the
// API and of the router.
func (g *gateway) guarded(who guard, method, path string) {
	if g.guards == nil {
		g.guards = make(map[string]string)
	}
	path = strings.NewReplacer("{", ":", "}", "").Replace(path)
	g.guards[method+" "+path] = who.name
	if g.requests != nil {
		g.requests.expect(method, path)
	}
}
