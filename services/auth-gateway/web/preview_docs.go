package web

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// previewDocs is a small API with one of everything the reference can show.
func previewDocs() Docs {
	type user struct {
		ID       string `json:"id" example:"usr_01JP4T"`
		Email    string `json:"email" format:"email" example:"agent@demo.test"`
		Audience string `json:"audience" enum:"internal,organization"`
		Manager  *user  `json:"manager,omitempty" doc:"Whom to ask."`
	}
	type signIn struct {
		ID       string `json:"id" example:"si_7KQ2"`
		Token    string `json:"token,omitempty" doc:"Given once. All other calls of this sign-in carry it as **Bearer**." example:"sit_…"`
		Status   string `json:"status" enum:"enroll,challenge,relogin,complete"`
		ResendIn int    `json:"resend_in,omitempty" minimum:"0" maximum:"3600" doc:"Seconds."`
	}
	type credentials struct {
		Email    string `json:"email" format:"email" maxLength:"254"`
		Password string `json:"password" maxLength:"1024" example:"open-sesame-demo"`
		Old      string `json:"old,omitempty" deprecated:"true"`
	}
	type problem struct {
		Status int    `json:"status" example:"422"`
		Code   string `json:"code" enum:"invalid_code,locked"`
		Title  string `json:"title" example:"That code is not right."`
	}
	type users struct {
		Items []user `json:"items"`
		Next  string `json:"next,omitempty"`
	}
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	body := func(kind string, v any) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{kind: {Schema: registry.Schema(reflect.TypeOf(v), true, "")}}
	}
	wrong := func(description string) *huma.Response {
		return &huma.Response{Description: description, Content: body("application/problem+json", problem{})}
	}
	limit := &huma.Param{Name: "limit", In: "query", Description: "How many at most.", Schema: &huma.Schema{Type: "integer", Default: 50}}
	return NewDocs(&huma.OpenAPI{
		Info: &huma.Info{
			Title: "Sallyport API", Version: "1.0",
			Description: "Everything a page can do, this can do.\n\nErrors are `application/problem+json` with a stable `code`.",
		},
		Servers: []*huma.Server{{URL: "https://login.northwind.test"}},
		Tags:    []*huma.Tag{{Name: "Sign-in", Description: "A password first, then a code."}, {Name: "Administration"}, {Name: "Unused"}},
		Paths: map[string]*huma.PathItem{
			"/v1/sign-ins": {Post: &huma.Operation{
				OperationID: "begin-sign-in", Tags: []string{"Sign-in"}, Summary: "Begin a sign-in",
				Description: "With the right password this begins an enrolment or a challenge; `status` says which.",
				Security:    []map[string][]string{},
				RequestBody: &huma.RequestBody{Content: body("application/json", credentials{})},
				Responses: map[string]*huma.Response{
					"201": {Description: "Created", Content: body("application/json", signIn{}), Headers: map[string]*huma.Param{"Location": {Schema: &huma.Schema{Type: "string", Format: "uri"}}}},
					"429": wrong(""),
				},
			}},
			"/v1/sign-ins/{id}/verify": {
				Parameters: []*huma.Param{{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}}},
				Post: &huma.Operation{
					Tags: []string{"Sign-in"}, Summary: "Verify a code", Security: []map[string][]string{{"signIn": {}}},
					Responses: map[string]*huma.Response{"200": {Content: body("application/json", signIn{})}, "422": wrong("With `attempts_left`."), "default": {Description: "Any other error"}},
				},
			},
			"/v1/admin/users": {
				Get: &huma.Operation{
					Tags: []string{"Administration"}, Summary: "List users", Parameters: []*huma.Param{limit},
					Security:  []map[string][]string{{"session": {}}, {"apiKey": {}}},
					Responses: map[string]*huma.Response{"200": {Content: body("application/json", users{})}},
				},
				Delete: &huma.Operation{
					Tags: []string{"Administration"}, Summary: "Delete a user", Deprecated: true, Security: []map[string][]string{{"session": {}}},
					Responses: map[string]*huma.Response{"204": {Description: http.StatusText(http.StatusNoContent)}},
				},
			},
			"/openapi.json": {Get: &huma.Operation{Responses: map[string]*huma.Response{"200": {}}}},
			"/hidden":       {Get: &huma.Operation{Hidden: true}},
		},
		Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
			"session": {Type: "http", Scheme: "bearer", Description: "A session's token."},
			"signIn":  {Type: "http", Scheme: "bearer", Description: "A sign-in's token; it opens nothing else."},
			"apiKey":  {Type: "apiKey", In: "header", Name: "X-Api-Key"},
		}},
	})
}
