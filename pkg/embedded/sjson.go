package embedded

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/FerretDB/wire/wirebson"
)

// The store's text of a document is JSON with a schema under "$s", which says of what BSON type each value is and in
// which order the fields are. This file reads it back; the store alone writes it.

type docSchema struct {
	Fields map[string]*valueSchema `json:"p"`
	Order  []string                `json:"$k"`
}

type valueSchema struct {
	Type    string                 `json:"t"`
	Fields  docSchema              `json:"$s"` // of a document
	Items   []*valueSchema         `json:"i"`  // of an array
	Subtype wirebson.BinarySubtype `json:"s"`  // of binary data
	Options string                 `json:"o"`  // of a regular expression
}

var errSJSON = errors.New("not a document of the store's")

// decodeDocument reads a document from the store's text.
func decodeDocument(text []byte) (*wirebson.Document, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("%w: %w", errSJSON, err)
	}
	var s docSchema
	if err := json.Unmarshal(values["$s"], &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errSJSON, err)
	}
	delete(values, "$s")
	return s.document(values)
}

func (s docSchema) document(values map[string]json.RawMessage) (*wirebson.Document, error) {
	if len(s.Order) != len(values) {
		return nil, fmt.Errorf("%w: %d fields, %d in the schema", errSJSON, len(values), len(s.Order))
	}
	out := wirebson.MakeDocument(len(values))
	for _, name := range s.Order {
		v, err := s.Fields[name].value(values[name])
		if err != nil {
			return nil, err
		}
		if err := out.Add(name, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// value reads one value; a nil schema describes nothing but null.
func (s *valueSchema) value(text json.RawMessage) (any, error) {
	if string(text) == "null" {
		return wirebson.Null, nil
	}
	if s == nil || text == nil {
		return nil, fmt.Errorf("%w: a field without a value or a schema", errSJSON)
	}
	switch s.Type {
	case "string":
		return as[string](text)
	case "int":
		return as[int32](text)
	case "long":
		return as[int64](text)
	case "double":
		return as[float64](text)
	case "bool":
		return as[bool](text)
	case "date":
		ms, err := as[int64](text)
		return time.UnixMilli(ms), err
	case "timestamp":
		return as[wirebson.Timestamp](text)
	case "binData":
		b, err := as[[]byte](text)
		return wirebson.Binary{B: b, Subtype: s.Subtype}, err
	case "regex":
		pattern, err := as[string](text)
		return wirebson.Regex{Pattern: pattern, Options: s.Options}, err
	case "objectId":
		var id wirebson.ObjectID
		digits, err := as[string](text)
		if err == nil && len(digits) != 2*len(id) {
			err = fmt.Errorf("%w: an ObjectID of %d digits", errSJSON, len(digits))
		}
		if err == nil {
			_, err = hex.Decode(id[:], []byte(digits))
		}
		return id, err
	case "object":
		values, err := as[map[string]json.RawMessage](text)
		if err != nil {
			return nil, err
		}
		return s.Fields.document(values)
	case "array":
		return s.array(text)
	default:
		return nil, fmt.Errorf("%w: a value of type %q", errSJSON, s.Type)
	}
}

func (s *valueSchema) array(text json.RawMessage) (any, error) {
	values, err := as[[]json.RawMessage](text)
	if err != nil {
		return nil, err
	}
	if len(values) != len(s.Items) {
		return nil, fmt.Errorf("%w: %d elements, %d in the schema", errSJSON, len(values), len(s.Items))
	}
	out := wirebson.MakeArray(len(values))
	for i, text := range values {
		v, err := s.Items[i].value(text)
		if err != nil {
			return nil, err
		}
		if err := out.Add(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func as[T any](text json.RawMessage) (v T, err error) {
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errSJSON, err)
	}
	return v, nil
}
