package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
	"github.com/FerretDB/wire/wireclient"
)

// sampled is of how many documents of a collection the sizes are taken.
const sampled = 300

// kept is what a collection holds.
type kept struct {
	Database, Name string
	Documents      int
	BSON           float64 // mean bytes of a document
	Indexes        int     // with that on _id
	Keys           float64 // mean bytes of the keys of one document in all indexes
}

// atRest reads what the collections hold through the wire protocol, whatever store is behind it.
func atRest(ctx context.Context, addr string) (out []kept, err error) {
	conn, err := wireclient.Connect(ctx, "mongodb://"+addr+"/", slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // every command was answered
	ask := func(database string, pairs ...any) (*wirebson.Document, error) {
		_, body, err := conn.Request(ctx, wire.MustOpMsg(append(pairs, "$db", database)...))
		if err != nil {
			return nil, err
		}
		raw, err := body.(*wire.OpMsg).RawDocument()
		if err != nil {
			return nil, err
		}
		return raw.Decode()
	}
	first := func(database string, pairs ...any) ([]wirebson.RawDocument, error) {
		answer, err := ask(database, pairs...)
		if err != nil {
			return nil, err
		}
		raw, ok := answer.Get("cursor").(wirebson.RawDocument)
		if !ok {
			return nil, fmt.Errorf("%v: no cursor in the answer", pairs[0])
		}
		cursor, err := raw.Decode()
		if err != nil {
			return nil, err
		}
		batch, err := cursor.Get("firstBatch").(wirebson.RawArray).Decode()
		if err != nil {
			return nil, err
		}
		var all []wirebson.RawDocument
		for n := range batch.Len() {
			all = append(all, batch.Get(n).(wirebson.RawDocument))
		}
		return all, nil
	}
	for _, database := range []string{"sallyport_auth_gateway", "sallyport_policy_svc", "sallyport_totp_svc", "sallyport_sms_dispatcher"} {
		found, err := first(database, "listCollections", int32(1), "nameOnly", true)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			d, err := f.Decode()
			if err != nil {
				return nil, err
			}
			k := kept{Database: database, Name: d.Get("name").(string)}
			answer, err := ask(database, "count", k.Name)
			if err != nil {
				return nil, err
			}
			if k.Documents = int(answer.Get("n").(int32)); k.Documents == 0 {
				continue
			}
			indexes, err := first(database, "listIndexes", k.Name)
			if err != nil {
				return nil, err
			}
			documents, err := first(database, "find", k.Name, "limit", int64(sampled), "batchSize", int32(sampled))
			if err != nil {
				return nil, err
			}
			if err := k.measure(documents, indexes); err != nil {
				return nil, err
			}
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		err = errors.New("the store holds nothing")
	}
	return out, err
}

// measure takes the means over documents.
func (k *kept) measure(documents, indexes []wirebson.RawDocument) error {
	var paths [][]string
	for _, raw := range indexes {
		d, err := raw.DecodeDeep()
		if err != nil {
			return err
		}
		paths = append(paths, d.Get("key").(*wirebson.Document).FieldNames())
	}
	k.Indexes = len(paths)
	for _, raw := range documents {
		d, err := raw.DecodeDeep()
		if err != nil {
			return err
		}
		k.BSON += float64(len(raw)) / float64(len(documents))
		for _, fields := range paths {
			for _, f := range fields {
				k.Keys += float64(keyBytes(d, strings.Split(f, "."))) / float64(len(documents))
			}
		}
	}
	return nil
}

// keyBytes is how long a value is, without its name.
func keyBytes(d *wirebson.Document, path []string) int {
	switch v := d.Get(path[0]).(type) {
	case *wirebson.Document:
		if len(path) > 1 {
			return keyBytes(v, path[1:])
		}
		raw, err := v.Encode()
		if err != nil {
			return 0
		}
		return len(raw)
	case string:
		return len(v) + 1
	case bool, nil:
		return 1
	case int32:
		return 4
	default:
		return 8
	}
}

// bytesOf is what the named collections, of one database each, hold of one person: documents, keys of indexes, and how
// many entries indexes have.
func bytesOf(all []kept, names ...string) (bson, keys float64, entries int) {
	for _, k := range all {
		if slices.Contains(names, k.Name) {
			bson, keys, entries = bson+k.BSON, keys+k.Keys, entries+k.Indexes
		}
	}
	return bson, keys, entries
}

// storeFiles is how many bytes the embedded store has on disk.
func storeFiles(dir string) (total int64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "store", "*"))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}
