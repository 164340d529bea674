package web

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

func TestB37DocsShowTheWholeDocument(t *testing.T) {
	d := previewDocs()
	var names []string
	for _, g := range d.Groups {
		for _, op := range g.Operations {
			names = append(names, g.Name+"/"+op.Method+" "+op.Path)
		}
	}
	want := "Sign-in/POST /v1/sign-ins, Sign-in/POST /v1/sign-ins/{id}/verify, Administration/GET /v1/admin/users, Administration/DELETE /v1/admin/users, /GET /openapi.json"
	if got := strings.Join(names, ", "); got != want {
		t.Errorf("operations:\n%s, want\n%s", got, want)
	}
	begin := d.Groups[0].Operations[0]
	if begin.Anchor != "begin-sign-in" || len(begin.Auth) != 0 {
		t.Errorf("begin: %+v", begin)
	}
	// Properties stand in the order of the Go struct, with their bounds.
	email := begin.Body.Fields[0]
	if email.Name != "email" || !email.Required || email.Type != "string · email · ≤ 254" {
		t.Errorf("email: %+v", email)
	}
	if !json.Valid([]byte(begin.Body.Example)) || !strings.HasPrefix(begin.Body.Example, "{\n  \"email\": \"dana@example.com\"") {
		t.Errorf("example: %s", begin.Body.Example)
	}
	verify := d.Groups[0].Operations[1]
	if len(verify.Parameters) != 1 || verify.Parameters[0].In != "path" || strings.Join(verify.Auth, ",") != "signIn" {
		t.Errorf("verify: %+v", verify)
	}
	if len(verify.Problems) != 2 || strings.Join(verify.Problems[0].Codes, ",") != "invalid_code,locked" {
		t.Errorf("problems: %+v", verify.Problems)
	}
	// A schema within itself ends.
	list := d.Groups[1].Operations[0]
	var fields []string
	for _, f := range list.Answers[0].Body.Fields {
		fields = append(fields, f.Name)
	}
	if got := strings.Join(fields, " "); got != "items items[].id items[].email items[].audience items[].manager next" {
		t.Errorf("fields: %s", got)
	}
	if strings.Join(list.Auth, ",") != "session,apiKey" {
		t.Errorf("auth: %v", list.Auth)
	}
}

func TestDocsOfNothing(t *testing.T) {
	for name, spec := range map[string]*huma.OpenAPI{
		"nil": nil, "empty": {},
		"dangling": {Paths: map[string]*huma.PathItem{"/x": {Get: &huma.Operation{
			Parameters:  []*huma.Param{{Ref: "#/components/parameters/none"}},
			RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/none"}}}},
			Responses:   map[string]*huma.Response{"200": {Ref: "#/components/responses/none"}, "201": {Content: map[string]*huma.MediaType{"application/json": {}}}},
		}}}},
	} {
		var b bytes.Buffer
		if err := Render(&b, Frame{}, NewDocs(spec)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
