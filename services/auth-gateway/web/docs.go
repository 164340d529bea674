package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Docs is /docs: the reference of the JSON API, with nothing fetched from anywhere. NewDocs makes it.
type Docs struct {
	Title, Version, Description string
	Server                      string // the base of every path; empty: this origin
	SpecURL                     string // where the document itself is
	Schemes                     []docScheme
	Groups                      []docGroup
}

type docScheme struct{ Name, Kind, Description string }

type docGroup struct {
	Name, Anchor, Description string
	Operations                []docOperation
}

type docOperation struct {
	Anchor, Method, Path, Summary, Description string
	Deprecated                                 bool
	Auth                                       []string // any of these; none: open to everybody
	Parameters                                 []docField
	Body                                       *docBody
	Answers, Problems                          []docAnswer
}

type docBody struct {
	ContentType, Description string
	Fields                   []docField
	Example                  string
}

type docAnswer struct {
	Status, Title, Description string
	Codes                      []string // stable codes this answer may carry
	Headers                    []docField
	Body                       *docBody
}

// docField is a parameter, a header or a property; properties of properties are named a.b and a[].b.
type docField struct {
	Name, In, Type, Description string
	Values                      []string // the closed set, where there is one
	Default                     string
	Required, Deprecated        bool
}

// NewDocs arranges an OpenAPI document for reading: operations by tag, in the order of the document's tags and then by
// name, each with what goes in and what comes out. It reads the document once and keeps nothing of it.
func NewDocs(spec *huma.OpenAPI) Docs {
	d := Docs{SpecURL: "/openapi.json"}
	if spec == nil {
		return d
	}
	if spec.Info != nil {
		d.Title, d.Version, d.Description = spec.Info.Title, spec.Info.Version, spec.Info.Description
	}
	if len(spec.Servers) > 0 {
		d.Server = strings.TrimSuffix(spec.Servers[0].URL, "/")
	}
	r := reader{spec: spec, components: spec.Components}
	if r.components == nil {
		r.components = &huma.Components{}
	}
	for _, name := range sortedKeys(r.components.SecuritySchemes) {
		s := r.components.SecuritySchemes[name]
		d.Schemes = append(d.Schemes, docScheme{name, schemeKind(s), s.Description})
	}

	var order []string
	groups := map[string]*docGroup{}
	group := func(name, description string) *docGroup {
		if groups[name] == nil {
			groups[name] = &docGroup{Name: name, Anchor: slug("tag " + name), Description: description}
			order = append(order, name)
		}
		return groups[name]
	}
	for _, tag := range spec.Tags {
		group(tag.Name, tag.Description)
	}
	for _, path := range sortedKeys(spec.Paths) {
		item := spec.Paths[path]
		for _, m := range []struct {
			method string
			op     *huma.Operation
		}{
			{http.MethodGet, item.Get},
			{http.MethodPost, item.Post},
			{http.MethodPut, item.Put},
			{http.MethodPatch, item.Patch},
			{http.MethodDelete, item.Delete},
		} {
			if m.op == nil || m.op.Hidden {
				continue
			}
			tag := ""
			if len(m.op.Tags) > 0 {
				tag = m.op.Tags[0]
			}
			g := group(tag, "")
			g.Operations = append(g.Operations, r.operation(m.method, path, item, m.op))
		}
	}
	for _, name := range order {
		if g := groups[name]; len(g.Operations) > 0 {
			d.Groups = append(d.Groups, *g)
		}
	}
	return d
}

// reader follows the references of one document.
type reader struct {
	spec       *huma.OpenAPI
	components *huma.Components
}

func (r reader) operation(method, path string, item *huma.PathItem, op *huma.Operation) docOperation {
	out := docOperation{
		Anchor: slug(method + " " + path), Method: method, Path: path,
		Summary: op.Summary, Description: op.Description, Deprecated: op.Deprecated,
	}
	if op.OperationID != "" {
		out.Anchor = slug(op.OperationID)
	}
	security := op.Security
	if security == nil {
		security = r.spec.Security
	}
	for _, any := range security {
		if len(any) > 0 {
			out.Auth = append(out.Auth, strings.Join(sortedKeys(any), " + "))
		}
	}
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		if p.Ref != "" {
			p = r.components.Parameters[lastPart(p.Ref)]
		}
		if p != nil {
			out.Parameters = append(out.Parameters, r.parameter(p.Name, p))
		}
	}
	if op.RequestBody != nil {
		out.Body = r.body(op.RequestBody.Content, op.RequestBody.Description)
	}
	for _, status := range sortedKeys(op.Responses) {
		response := op.Responses[status]
		if response.Ref != "" {
			response = r.components.Responses[lastPart(response.Ref)]
		}
		if response == nil {
			continue
		}
		a := docAnswer{Status: status, Description: response.Description, Body: r.body(response.Content, "")}
		if n, err := strconv.Atoi(status); err == nil {
			a.Title = http.StatusText(n)
		}
		if a.Description == a.Title {
			a.Description = ""
		}
		for _, name := range sortedKeys(response.Headers) {
			a.Headers = append(a.Headers, r.parameter(name, response.Headers[name]))
		}
		if status >= "1" && status < "4" {
			out.Answers = append(out.Answers, a)
			continue
		}
		a.Codes = r.codes(response.Content)
		out.Problems = append(out.Problems, a)
	}
	return out
}

func (r reader) parameter(name string, p *huma.Param) docField {
	f := r.field(name, p.Schema)
	f.In, f.Required, f.Deprecated = p.In, p.Required, p.Deprecated || f.Deprecated
	if p.Description != "" {
		f.Description = p.Description
	}
	return f
}

// body takes JSON where there is a choice.
func (r reader) body(content map[string]*huma.MediaType, description string) *docBody {
	kinds := sortedKeys(content)
	if len(kinds) == 0 {
		return nil
	}
	kind := kinds[0]
	for _, k := range kinds {
		if strings.HasSuffix(k, "json") {
			kind = k
			break
		}
	}
	media := content[kind]
	b := &docBody{ContentType: kind, Description: description, Fields: r.fields("", media.Schema, nil)}
	var value any
	switch {
	case media.Example != nil:
		value = media.Example
	case len(media.Examples) > 0:
		value = media.Examples[sortedKeys(media.Examples)[0]].Value
	case media.Schema != nil && strings.HasSuffix(kind, "json"):
		value = r.example(media.Schema, nil)
	}
	if value != nil {
		if text, err := json.MarshalIndent(value, "", "  "); err == nil {
			b.Example = string(text)
		}
	}
	return b
}

// codes are the stable codes of a problem document: those of its examples, or else the closed set of its property code.
func (r reader) codes(content map[string]*huma.MediaType) (codes []string) {
	add := func(v any) {
		if s := fmt.Sprint(v); v != nil && s != "" && !slices.Contains(codes, s) {
			codes = append(codes, s)
		}
	}
	for _, kind := range sortedKeys(content) {
		media := content[kind]
		examples := []any{media.Example}
		for _, name := range sortedKeys(media.Examples) {
			examples = append(examples, media.Examples[name].Value)
		}
		for _, e := range examples {
			if m, ok := e.(map[string]any); ok {
				add(m["code"])
			}
		}
		if s, _ := r.resolve(media.Schema); s != nil && len(codes) == 0 {
			// A long list is that of the whole API, and says nothing of this answer.
			if code, _ := r.resolve(s.Properties["code"]); code != nil && len(code.Enum) <= 4 {
				for _, v := range code.Enum {
					add(v)
				}
			}
		}
	}
	return codes
}

// resolve follows references, and names the Go type behind the last one.
func (r reader) resolve(s *huma.Schema) (*huma.Schema, reflect.Type) {
	var t reflect.Type
	for hops := 0; s != nil && s.Ref != "" && hops < 8; hops++ {
		if r.components.Schemas == nil {
			return nil, nil
		}
		t = r.components.Schemas.TypeFromRef(s.Ref)
		s = r.components.Schemas.SchemaFromRef(s.Ref)
	}
	return s, t
}

// properties are the names of an object's properties in the order of the Go struct, else required ones first.
func (r reader) properties(s *huma.Schema, t reflect.Type) []string {
	var names []string
	add := func(name string) {
		if _, ok := s.Properties[name]; ok && name != "$schema" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			add(name)
		}
	}
	for _, name := range s.Required {
		add(name)
	}
	for _, name := range sortedKeys(s.Properties) {
		add(name)
	}
	return names
}

// fields are all properties of a schema, those of inner objects after their object. A schema within itself is named once.
func (r reader) fields(prefix string, s *huma.Schema, above []*huma.Schema) (out []docField) {
	s, t := r.resolve(s)
	if s == nil || slices.Contains(above, s) || len(above) > 5 {
		return nil
	}
	above = append(slices.Clip(above), s)
	if s.Type == huma.TypeArray {
		return r.fields(prefix+"[]", s.Items, above)
	}
	for _, part := range s.AllOf {
		out = append(out, r.fields(prefix, part, above)...)
	}
	dot := ""
	if prefix != "" {
		dot = "."
	}
	for _, name := range r.properties(s, t) {
		property := s.Properties[name]
		f := r.field(prefix+dot+name, property)
		f.Required = slices.Contains(s.Required, name)
		out = append(out, f)
		out = append(out, r.fields(prefix+dot+name, property, above)...)
	}
	return out
}

// field describes one value.
func (r reader) field(name string, s *huma.Schema) docField {
	f := docField{Name: name}
	if s == nil {
		return f
	}
	f.Description = s.Description
	full, _ := r.resolve(s)
	if full == nil {
		return f
	}
	if f.Description == "" {
		f.Description = full.Description
	}
	f.Type, f.Deprecated = r.kind(full), s.Deprecated || full.Deprecated
	values := full.Enum
	if full.Type == huma.TypeArray && full.Items != nil {
		if items, _ := r.resolve(full.Items); items != nil {
			values = items.Enum
		}
	}
	for _, v := range values {
		f.Values = append(f.Values, fmt.Sprint(v))
	}
	if full.Default != nil {
		if text, err := json.Marshal(full.Default); err == nil {
			f.Default = string(text)
		}
	}
	return f
}

// kind is the type in a few words, with the bounds that a caller must keep.
func (r reader) kind(s *huma.Schema) string {
	if s.Type == huma.TypeArray {
		if items, _ := r.resolve(s.Items); items != nil {
			return r.kind(items) + "[]"
		}
	}
	words := []string{s.Type}
	if s.Type == "" {
		words[0] = "any"
	}
	if s.Format != "" && s.Type == huma.TypeString {
		words = append(words, s.Format)
	}
	if s.ContentEncoding != "" {
		words = append(words, s.ContentEncoding)
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		words = append(words, fmt.Sprintf("%v–%v", *s.Minimum, *s.Maximum))
	case s.Minimum != nil:
		words = append(words, fmt.Sprintf("≥ %v", *s.Minimum))
	case s.Maximum != nil:
		words = append(words, fmt.Sprintf("≤ %v", *s.Maximum))
	}
	if s.MaxLength != nil {
		words = append(words, fmt.Sprintf("≤ %d", *s.MaxLength))
	}
	return strings.Join(words, " · ")
}

// example is a value that the schema's own examples make up.
func (r reader) example(s *huma.Schema, above []*huma.Schema) any {
	s, t := r.resolve(s)
	if s == nil || slices.Contains(above, s) || len(above) > 5 {
		return nil
	}
	above = append(slices.Clip(above), s)
	switch {
	case len(s.Examples) > 0:
		return s.Examples[0]
	case s.Default != nil:
		return s.Default
	case len(s.Enum) > 0:
		return s.Enum[0]
	case len(s.OneOf) > 0:
		return r.example(s.OneOf[0], above)
	case len(s.AnyOf) > 0:
		return r.example(s.AnyOf[0], above)
	}
	switch s.Type {
	case huma.TypeArray:
		if one := r.example(s.Items, above); one != nil {
			return []any{one}
		}
		return []any{}
	case huma.TypeBoolean:
		return false
	case huma.TypeInteger, huma.TypeNumber:
		if s.Minimum != nil {
			return *s.Minimum
		}
		return 0
	case huma.TypeString:
		return map[string]string{
			"date-time": "2026-03-12T10:02:00Z", "date": "2026-03-12", "email": "dana@example.com", "uri": "https://example.com/",
		}[s.Format] // any other: ""
	}
	var o object
	for _, part := range s.AllOf {
		if inner, ok := r.example(part, above).(object); ok {
			o = append(o, inner...)
		}
	}
	for _, name := range r.properties(s, t) {
		if v := r.example(s.Properties[name], above); v != nil {
			o = append(o, member{name, v})
		}
	}
	return o
}

// object is a JSON object that keeps its order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b = strconv.AppendQuote(b, m.name)
		b = append(append(b, ':'), value...)
	}
	return append(b, '}'), nil
}

func schemeKind(s *huma.SecurityScheme) string {
	switch s.Type {
	case "http":
		return "Authorization: " + strings.ToUpper(s.Scheme[:min(1, len(s.Scheme))]) + s.Scheme[min(1, len(s.Scheme)):] + " …"
	case "apiKey":
		return s.In + " " + s.Name
	}
	return s.Type
}

// slug is a name as an anchor.
func slug(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	return strings.Join(words, "-")
}

func lastPart(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
