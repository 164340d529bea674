package gateway

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/clock"
	"sallyport/pkg/service"
)

// A handler that panics answers 500 as every fault of ours does, says nothing of it to the caller, and the next request
// is answered.
func TestAPanicFailsItsOwnRequest(t *testing.T) {
	var log bytes.Buffer
	g := &gateway{sessions: &sessions{}, svc: &service.Service{Clock: clock.System(), Log: service.NewLog(&log, slog.LevelInfo)}}
	g.portals.Store(&map[string]portal{"north.test": {ID: "north", Name: "North"}})
	app := g.newApp()
	app.Get("/v1/boom", func(*fiber.Ctx) error { panic("hunter2") })
	app.Get("/boom", g.guardPage(open, func(*fiber.Ctx) error { panic("hunter2") }))
	app.Get("/v1/well", func(c *fiber.Ctx) error { return c.SendString("well") })
	for _, path := range []string{"/v1/boom", "/boom", "/v1/well"} {
		a, err := app.Test(httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(a.Body)
		if err = errors.Join(err, a.Body.Close()); err != nil {
			t.Fatal(err)
		}
		want := 500
		if path == "/v1/well" {
			want = 200
		}
		if a.StatusCode != want || a.Header.Get("X-Request-Id") == "" || strings.Contains(string(body), "hunter2") || strings.Contains(string(body), "goroutine") {
			t.Errorf("%s: %d, %v: %s", path, a.StatusCode, a.Header, body)
		}
		if want == 500 && !strings.Contains(log.String(), a.Header.Get("X-Request-Id")) {
			t.Errorf("%s: the log does not name the request", path)
		}
	}
	if !strings.Contains(log.String(), "survive_test.go") || strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log: %s", log.String())
	}
}
