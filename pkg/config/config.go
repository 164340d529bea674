// Package config answers: what was this process told, and is it usable?
//
// Settings come from the environment into a struct with the tags of caarlos0/env ("env", "envDefault") plus "help".
// Every variable X may be given as X_FILE, the path of a file that holds the value. All that is wrong is reported at
// once, by name.
package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caarlos0/env/v11"
)

// Error lists everything that is wrong with the settings; a process that meets it exits with status 2.
type Error struct{ Problems []string }

// Error returns one line per problem.
func (e *Error) Error() string {
	return "the settings are not usable:\n  " + strings.Join(e.Problems, "\n  ")
}

// Validator is a settings struct that has rules beyond the type of each field. Each problem names its variable.
type Validator interface{ Validate() []string }

// Load fills a T from vars. Every problem (missing, unreadable, of the wrong type, refused by Validate) is collected
// into one [*Error].
func Load[T any](vars map[string]string) (T, error) {
	var t T
	vars = maps.Clone(vars)
	var problems []string
	for _, f := range fields(reflect.TypeFor[T]()) {
		path, ok := vars[f.name+"_FILE"]
		if !ok || isSetting[T](f.name+"_FILE") {
			continue
		}
		if vars[f.name] != "" {
			problems = append(problems, fmt.Sprintf("%s: set it or %s_FILE, not both", f.name, f.name))
			continue
		}
		raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s_FILE: %v", f.name, err))
			continue
		}
		vars[f.name] = strings.TrimRight(string(raw), "\r\n")
	}
	err := env.ParseWithOptions(&t, env.Options{Environment: vars})
	var all env.AggregateError
	switch {
	case errors.As(err, &all):
		for _, e := range all.Errors {
			problems = append(problems, describe(reflect.TypeFor[T](), e))
		}
	case err != nil:
		problems = append(problems, err.Error())
	}
	if v, ok := any(&t).(Validator); ok {
		for _, p := range v.Validate() {
			// What could not be read has its zero value, and that was said already.
			name, _, _ := strings.Cut(p, ":")
			if !slices.ContainsFunc(problems, func(said string) bool { return strings.HasPrefix(said, name+":") }) {
				problems = append(problems, p)
			}
		}
	}
	if len(problems) > 0 {
		slices.Sort(problems)
		return t, &Error{Problems: slices.Compact(problems)}
	}
	return t, nil
}

// describe names the variable, where the library names the struct's field.
func describe(t reflect.Type, err error) string {
	var missing env.VarIsNotSetError
	var empty env.EmptyVarError
	var parse env.ParseError
	switch {
	case errors.As(err, &missing):
		return missing.Key + ": must be set"
	case errors.As(err, &empty):
		return empty.Key + ": must not be empty"
	case errors.As(err, &parse):
		for _, f := range fields(t) {
			if f.field == parse.Name {
				return fmt.Sprintf("%s: not a %s", f.name, plain(parse.Type))
			}
		}
	}
	return err.Error()
}

func plain(t reflect.Type) string {
	if t == reflect.TypeFor[slog.Level]() {
		return "log level: DEBUG, INFO, WARN or ERROR"
	}
	switch t.Kind() { //nolint:exhaustive // every other kind goes by its name
	case reflect.Int, reflect.Int64, reflect.Uint32:
		if t.Name() == "Duration" {
			return "duration such as 30s"
		}
		return "whole number"
	case reflect.Float64:
		return "number"
	case reflect.Bool:
		return "true or false"
	default:
		return t.String()
	}
}

// Help writes the variables of T with default and meaning.
func Help[T any](w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, f := range fields(reflect.TypeFor[T]()) {
		value := f.def
		if f.required {
			value = "(required)"
		}
		if _, err := fmt.Fprintf(tw, "  %s\t%s\t%s\n", f.name, value, f.help); err != nil {
			return err
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nEach X may be given as X_FILE: the path of a file that holds the value.")
	return err
}

// ListenAddr returns what is wrong with the address of a listener, or nil. Whether it is free shows when it is opened.
func ListenAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil || port == "" {
		return errors.New("must be host:port, such as 127.0.0.1:8080")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return fmt.Errorf("%q is not a port: 0 to 65535", port)
	}
	return nil
}

// Environ returns the process's environment as a map.
func Environ() map[string]string {
	vars := make(map[string]string)
	for _, kv := range os.Environ() {
		if k, v, ok := strings.Cut(kv, "="); ok {
			vars[k] = v
		}
	}
	return vars
}

type variable struct {
	name, field, def, help string
	required               bool
}

func isSetting[T any](name string) bool {
	return slices.ContainsFunc(fields(reflect.TypeFor[T]()), func(v variable) bool { return v.name == name })
}

func fields(t reflect.Type) []variable {
	var out []variable
	for i := range t.NumField() {
		f := t.Field(i)
		tag, ok := f.Tag.Lookup("env")
		if !ok {
			if f.Type.Kind() == reflect.Struct && f.Anonymous {
				out = append(out, fields(f.Type)...)
			}
			continue
		}
		parts := strings.Split(tag, ",")
		out = append(out, variable{
			name: parts[0], field: f.Name, def: f.Tag.Get("envDefault"), help: f.Tag.Get("help"),
			required: slices.Contains(parts, "required") || slices.Contains(parts, "notEmpty"),
		})
	}
	return out
}
