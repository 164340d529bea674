package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofiber/fiber/v2"

	"sallyport/pkg/contract"
	"sallyport/pkg/trace"
)

// newAPI makes the JSON API on an app. Its OpenAPI 3.1 description comes from the Go types.
func newAPI(app *fiber.App) huma.API {
	// The library's own problem documents would repeat the refused value, which may be a password.
	huma.NewError = requestProblem
	huma.NewErrorWithContext = func(c huma.Context, status int, msg string, errs ...error) huma.StatusError {
		refusal := requestProblem(status, msg, errs...)
		var p *Problem
		if errors.As(refusal, &p) {
			p.RequestID = requestID(c.Context())
		}
		return refusal
	}
	huma.ValidateStrictCasing = true // "Email" is not "email": two parsers must not disagree about which one counts
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	strict := huma.Format{Marshal: huma.DefaultJSONFormat.Marshal, Unmarshal: unmarshalStrict}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Sallyport", Version: "1",
				Description: "Second-factor sign-in for a portal. Begin a sign-in with e-mail address and password; its status says what comes next. Errors are problem documents (RFC 9457) with a stable code.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"signIn":  {Type: "http", Scheme: "bearer", Description: "The token of a sign-in, from the call that began it. It works for that sign-in only."},
					"apiKey":  {Type: "http", Scheme: "bearer", Description: "An API key, for a portal's server: sallyport portal key create makes one."},
					"session": {Type: "http", Scheme: "bearer", Description: "The token of a session, from the call that completed a sign-in."},
				},
			},
			Tags: []*huma.Tag{
				{Name: "Sign-ins", Description: "From the password to the session."},
				{Name: "Session", Description: "Who is signed in."},
				{Name: "Account", Description: "A person's own second factor."},
				{Name: "Administration", Description: "The portal's settings, for Master Admins."},
			},
		},
		Formats:       map[string]huma.Format{"application/json": strict, "json": strict},
		DefaultFormat: "application/json",
	}
	return humafiber.New(app, config)
}

// unmarshalStrict reads JSON as RFC 7493 has it: valid UTF-8, and no name twice. Of two equal names one parser may
// take the first and another the last; we take neither.
func unmarshalStrict(data []byte, v any) error {
	if !jsontext.Value(data).IsValid() {
		return errors.New("not valid JSON, or a name stands twice")
	}
	return json.Unmarshal(data, v)
}

// handle adds one route of the JSON API: "METHOD /path", with who may use it, what it is for and how it refuses.
func handle[I, O any](g *gateway, api huma.API, who guard, route string, status int, tag, summary, description string, own []contract.Code, h func(context.Context, *I) (*O, error)) {
	op := operation(api, who, route, tag, summary, description, own)
	g.guarded(who, op.Method, op.Path)
	op.DefaultStatus, op.MaxBodyBytes = status, maxBody+1 // the library refuses what reaches its limit
	if _, body := reflect.TypeFor[I]().FieldByName("Body"); body {
		describeBody(api, op.Responses)
	}
	op.Middlewares = huma.Middlewares{func(c huma.Context, next func(huma.Context)) {
		token := bearerOf(c.Header("Authorization"))
		ctx, cancel := context.WithTimeout(c.Context(), patience)
		defer cancel()
		s, err := g.admit(ctx, who, token)
		if err == nil {
			ctx, err = g.admitKey(ctx, who, token)
		}
		if err != nil {
			g.refuse(api, c, err)
			return
		}
		ctx = context.WithValue(context.WithValue(ctx, bearerKey{}, token), sessionKey{}, s)
		next(huma.WithContext(c, ctx))
	}}
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, g.problem(ctx, err)
		}
		return out, nil
	})
}

// operation describes a route, but for its request and its answer.
func operation(api huma.API, who guard, route, tag, summary, description string, own []contract.Code) huma.Operation {
	method, path, _ := strings.Cut(route, " ")
	op := huma.Operation{
		OperationID: operationID(method, path), Method: method, Path: path, Summary: summary, Tags: []string{tag},
		Description: description, Responses: describeRefusals(api, refusals(who, own)),
	}
	switch {
	case who.session:
		op.Security = []map[string][]string{{"session": {}}}
	case who.ofSignIn:
		op.Security = []map[string][]string{{"signIn": {}}}
	case who.open:
		op.Security = []map[string][]string{{}}
	}
	if who.key {
		op.Security = append(op.Security, map[string][]string{"apiKey": {}})
	}
	return op
}

// describe adds the description of a route that answers an O with 200, and whose handler the app has itself.
func describe[O any](g *gateway, api huma.API, who guard, route, tag, summary, description string) {
	op := operation(api, who, route, tag, summary, description, nil)
	g.guarded(who, op.Method, op.Path)
	schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[O](), true, "")
	op.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	api.OpenAPI().AddOperation(&op)
}

// bearerOf is the token of an Authorization header, "" if it holds none.
func bearerOf(header string) string {
	scheme, token, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// describeRefusals describes the problem documents of a route: one response per status, one example per code.
func describeRefusals(api huma.API, codes []contract.Code) map[string]*huma.Response {
	out := make(map[string]*huma.Response)
	for _, code := range codes {
		describeRefusal(api, out, statusOf[code], code)
	}
	describeRefusal(api, out, http.StatusBadRequest, contract.InvalidRequest)
	return out
}

// describeBody adds what is answered to a body that is too large, or of another media type.
func describeBody(api huma.API, out map[string]*huma.Response) {
	describeRefusal(api, out, http.StatusRequestEntityTooLarge, contract.InvalidRequest)
	describeRefusal(api, out, http.StatusUnsupportedMediaType, contract.InvalidRequest)
}

func describeRefusal(api huma.API, out map[string]*huma.Response, status int, code contract.Code) {
	key := strconv.Itoa(status)
	r := out[key]
	if r == nil {
		schema := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
		r = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: schema, Examples: map[string]*huma.Example{}}},
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}}}
		}
		out[key] = r
	}
	r.Content["application/problem+json"].Examples[string(code)] = &huma.Example{Value: map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": string(code), "detail": "What went wrong, for people.",
	}}
}

// operationID makes "post-v1-sign-ins-id-verify" of a route.
func operationID(method, path string) string {
	return strings.ToLower(method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(path)
}

// problem makes the answer of an error, and logs what is our own fault.
func (g *gateway) problem(ctx context.Context, err error) *Problem {
	p := problemOf(err)
	p.RequestID = requestID(ctx)
	if p.Code == string(contract.InternalError) {
		g.svc.Log.Error("request failed", slog.String("request_id", p.RequestID), trace.Attr(ctx), slog.Any("error", err))
	}
	return p
}

// refuse answers a request that a guard did not let through.
func (g *gateway) refuse(api huma.API, c huma.Context, err error) {
	p := g.problem(c.Context(), err)
	for k, v := range p.GetHeaders() {
		c.SetHeader(k, v[0])
	}
	c.SetHeader("Content-Type", p.ContentType(""))
	c.SetStatus(p.Status)
	_ = api.Marshal(io.Writer(c.BodyWriter()), "application/json", p) // the client may be gone
}
