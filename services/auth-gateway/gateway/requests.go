package gateway

import (
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// requests measures the answers of every route.
type requests struct {
	took *prometheus.HistogramVec
	// byRoute are the series by the router's own name of a route, each by the first digit of its status.
	byRoute map[routeKey]*answers
	other   *answers
}

// routeKey is a route as the router knows it.
type routeKey struct{ method, path string }

// answers are the series of one route, for 2xx to 5xx.
type answers [4]prometheus.Observer

// otherRoute is what is asked for that is no route.
const otherRoute = "other"

func newRequests(r prometheus.Registerer) *requests {
	q := &requests{
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sallyport_gateway_request_seconds", Help: "Time until a request was answered, by route and kind of status.",
			Buckets: []float64{.005, .025, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "status"}),
		byRoute: make(map[routeKey]*answers),
	}
	r.MustRegister(q.took)
	q.other = q.series(otherRoute)
	return q
}

func (q *requests) series(route string) *answers {
	var a answers
	for i, status := range []string{"2xx", "3xx", "4xx", "5xx"} {
		a[i] = q.took.WithLabelValues(route, status)
	}
	return &a
}

// expect makes the series of a route, "GET /v1/sign-ins/:id".
func (q *requests) expect(method, path string) {
	q.byRoute[routeKey{method, path}] = q.series(method + " " + path)
}

// of are the series of a route.
func (q *requests) of(method, path string) *answers {
	if method == fiber.MethodHead {
		method = fiber.MethodGet
	}
	if a, ok := q.byRoute[routeKey{method, path}]; ok {
		return a
	}
	return q.other
}

// measure times a request. It stands before everything else.
func (g *gateway) measure(c *fiber.Ctx) error {
	began := time.Now() // real time: how long people wait
	err := c.Next()
	status, known := c.Response().StatusCode(), true
	if err != nil {
		var f *fiber.Error
		if known = !errors.As(err, &f); known {
			status = problemOf(err).Status
		} else {
			status = f.Code // the router's own refusal: there is no such route
		}
	}
	a := g.requests.other
	if known {
		a = g.requests.of(c.Method(), c.Route().Path)
	}
	a[min(max(status/100-2, 0), len(a)-1)].Observe(time.Since(began).Seconds()) // real time: the same
	return err
}
