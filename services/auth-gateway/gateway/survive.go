package gateway

import (
	"log/slog"
	"runtime/debug"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/trace"
)

// survive lets a handler that panics fail its own request and no other: the HTTP server under Fiber would end the
// process. The log gets the way to it, and nothing of its value, which may be anything.
func (g *gateway) survive(c *fiber.Ctx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			g.svc.Log.Error("handler panicked", slog.String("request_id", requestID(c.UserContext())), trace.Attr(c.UserContext()), slog.String("stack", string(debug.Stack())))
			err = errInternal("panic")
		}
	}()
	return c.Next()
}
