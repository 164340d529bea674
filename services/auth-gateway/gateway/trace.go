package gateway

import (
	"errors"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// follow makes the first span of a request's trace. It is in the way only where requests are traced. The trace of whoever
// asks goes on only where a proxy of ours says so: a stranger's would decide what is looked at, and tie our spans to
// theirs.
func (g *gateway) follow(c *fiber.Ctx) error {
	parent := ""
	if c.IsProxyTrusted() {
		parent = c.Get(contract.HeaderTraceParent)
	}
	ctx, span := g.svc.Trace.Request(c.UserContext(), parent)
	c.SetUserContext(ctx)
	err := c.Next()
	if !span.On() {
		return err
	}
	status := c.Response().StatusCode()
	method, route := g.routeOf(c, err)
	if err != nil {
		p := problemOf(err)
		if f := (*fiber.Error)(nil); errors.As(err, &f) {
			p = routeProblem(f)
		}
		status = p.Status
	}
	span.Name(method + " " + route)
	span.Set(trace.Method, method)
	span.Set(trace.Route, route)
	span.Set(trace.RequestID, requestID(ctx))
	class := strconv.Itoa(status/100) + "xx"
	span.Set(trace.StatusClass, class)
	span.End(class, status >= fiber.StatusInternalServerError)
	return err
}

// Of what is in no table: anybody may ask for any path, by any method.
const (
	otherMethod = "_OTHER"
	noRoute     = "none"
)

// routeOf is the line of the route table that answered, by its pattern.
func (g *gateway) routeOf(c *fiber.Ctx, err error) (method, route string) {
	method, route = c.Method(), c.Route().Path
	if method == fiber.MethodHead {
		method = fiber.MethodGet // it is answered by the same line
	}
	var f *fiber.Error
	if _, known := g.guards[method+" "+route]; known && (route != "/" || !errors.As(err, &f)) {
		return method, route
	}
	switch method {
	case fiber.MethodGet, fiber.MethodPost, fiber.MethodPut, fiber.MethodPatch, fiber.MethodDelete, fiber.MethodOptions:
	default:
		method = otherMethod
	}
	return method, noRoute
}
