package main

import (
	"context"
	"crypto/sha1" // seeds of people who do not exist
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/FerretDB/wire"
	"github.com/FerretDB/wire/wirebson"
	"github.com/FerretDB/wire/wireclient"
	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite" // in which the embedded store keeps its documents

	"sallyport/pkg/contract"
	"sallyport/pkg/embedded"
	"sallyport/pkg/seal"
)

// The one portal of every installation here, and the password of everybody.
const (
	portal   = "bench"
	password = "correct horse battery staple"
)

// cost is what one argon2id hash takes.
type cost struct{ memoryKiB, passes uint32 }

var (
	production = cost{7168, 5} // the gateway's default
	minimal    = cost{64, 1}
)

// key is argon2id itself.
func (c cost) key() []byte {
	return argon2.IDKey([]byte(password), []byte("sixteen bytes of"), c.passes, c.memoryKiB, 1, 32)
}

// hash is how an account keeps it.
func (c cost) hash() string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", c.memoryKiB, c.passes,
		b64.EncodeToString([]byte("sixteen bytes of")), b64.EncodeToString(c.key()))
}

// user is one of the crowd: an internal one with an authenticator app, or a contact with a telephone.
type user struct {
	n     int
	phone bool
}

func (u user) id() string {
	if u.n < 0 {
		return "admin"
	}
	if u.phone {
		return fmt.Sprintf("c%06d", u.n)
	}
	return fmt.Sprintf("u%06d", u.n)
}

func (u user) email() string { return u.id() + "@bench.test" }

// number is where the contact is texted.
func (u user) number() string { return fmt.Sprintf("+1701%07d", 5_550_000+u.n) }

func (u user) account() contract.Account { return contract.Account{Portal: portal, User: u.id()} }

func (u user) seed() []byte {
	sum := sha1.Sum([]byte(u.id()))
	return sum[:]
}

// code is what the app shows at that time.
func (u user) code(at time.Time) (string, error) {
	return codeOf(base32.StdEncoding.EncodeToString(u.seed()), at)
}

// codeOf is what an app with that key shows.
func codeOf(key string, at time.Time) (string, error) { return totp.GenerateCode(key, at) }

// crowd says who is enrolled in an installation.
type crowd struct {
	apps     int // people with an authenticator app
	costly   int // how many of them, the last ones, have a password hash of production's cost; the others a minimal one
	fresh    int // how many of them, the first ones, have yet to enrol
	contacts int // people with a telephone
}

// makeInstallation writes keys and documents of an installation into dir, as if all these people had enrolled. It
// mirrors the documents of the services: should one of them change, the first sign-in fails and says so.
//
// The store syncs every document it takes, which for a hundred thousand people is many minutes. So it gets one person
// of each kind, and once it is closed that person's rows are copied for the others in one transaction per file.
func makeInstallation(dir string, c crowd) error {
	paths, err := seal.Generate(filepath.Join(dir, "keys"), []contract.Service{contract.AuthGateway, contract.TOTP, contract.SMSDispatcher, contract.Policy}, false)
	if err != nil {
		return err
	}
	apps, err := seal.Load(paths[contract.TOTP], contract.TOTP)
	if err != nil {
		return err
	}
	phones, err := seal.Load(paths[contract.SMSDispatcher], contract.SMSDispatcher)
	if err != nil {
		return err
	}
	cheap, dear := minimal.hash(), production.hash()
	sealed, err := apps.Store.Seal(admin.seed(), seal.Place{portal, "authenticators", "secret", admin.id(), "e" + admin.id()})
	if err != nil {
		return err
	}
	if err := insertModels(filepath.Join(dir, "store"), change{admin, cheap, sealed}); err != nil {
		return err
	}
	changes := make([]change, 0, c.apps+c.contacts)
	for n := range c.apps {
		u, hash := user{n: n}, cheap
		if n >= c.apps-c.costly {
			hash = dear
		}
		sealed, err := apps.Store.Seal(u.seed(), seal.Place{portal, "authenticators", "secret", u.id(), "e" + u.id()})
		if err != nil {
			return err
		}
		changes = append(changes, change{u, hash, sealed})
	}
	for n := range c.contacts {
		u := user{n: n, phone: true}
		sealed, err := phones.Store.Seal([]byte(u.number()), seal.Place{portal, "phones", "phone", u.id(), "e" + u.id()})
		if err != nil {
			return err
		}
		changes = append(changes, change{u, cheap, sealed})
	}
	var files errgroup.Group
	for _, copied := range []struct {
		file       string
		tables     []string
		app, phone bool
		fresh      bool
	}{
		{"auth_gateway", []string{"logins", "users"}, true, true, true},
		{"policy_svc", []string{"standings"}, true, true, false},
		{"totp_svc", []string{"authenticators"}, true, false, false},
		{"sms_dispatcher", []string{"phones"}, false, true, false},
	} {
		file := filepath.Join(dir, "store", "sallyport_"+copied.file+".sqlite")
		wanted := func(u user) bool {
			return u.phone && copied.phone || !u.phone && copied.app && (copied.fresh || u.n >= c.fresh)
		}
		files.Go(func() error {
			for _, t := range copied.tables {
				if err := multiply(file, t, changes, wanted); err != nil {
					return fmt.Errorf("%s of %s: %w", t, copied.file, err)
				}
			}
			return nil
		})
	}
	return files.Wait()
}

// The words in a model's documents that differ from person to person.
const (
	modelApp   = "uMODEL-"
	modelPhone = "cMODEL-"
	modelHash  = "MODEL-HASH"
	modelLast4 = "MODEL-LAST4"
)

var modelSealed = []byte("MODEL-SEALED")

// insertModels gives the store the portal with its settings and its admin, and one person of each kind.
func insertModels(dir string, master change) (err error) {
	st, err := embedded.StartStore(embedded.StoreOptions{Dir: dir, Addr: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	uri, _, _ := strings.Cut(st.URI(), "?") // the options are for drivers
	conn, err := wireclient.Connect(ctx, uri, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // every insert was answered
	doc := wirebson.MustDocument
	insert := func(service, name string, d *wirebson.Document) {
		if err != nil {
			return
		}
		_, body, e := conn.Request(ctx, wire.MustOpMsg("insert", name, "documents", wirebson.MustArray(d), "$db", "sallyport_"+service))
		if err = e; err != nil {
			return
		}
		raw, e := body.(*wire.OpMsg).RawDocument()
		if err = e; err != nil {
			return
		}
		answer, e := raw.Decode()
		if err = e; err == nil && (answer.Get("ok") != 1.0 || answer.Get("writeErrors") != nil) {
			err = fmt.Errorf("the store does not take a document into %s", name)
		}
	}
	required := doc("mode", "required", "generation", int64(1))
	insert("auth_gateway", "portals", doc(
		"_id", portal, "name", "Bench Portal", "directory", int32(1), "admins", doc(master.id(), true), "admin_count", int32(1),
	))
	insert("policy_svc", "settings", doc("_id", portal, "internal", required, "organizations", required, "version", int64(1)))

	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	epoch := doc("population", int64(1), "person", int64(0))
	guess := doc("failures", int32(0), "last_at", since)
	person := func(id, hash string, audience contract.Audience, factor contract.Factor) {
		insert("auth_gateway", "logins", doc("_id", portal+"/"+id+"@bench.test", "user", id))
		insert("auth_gateway", "users", doc(
			"_id", portal+"/"+id, "portal", portal, "user", id, "email", id+"@bench.test", "name", "Person "+id,
			"audience", string(audience), "password", hash, "master_admin", id == master.id(),
			"population", string(audience), "name_key", "person-"+id+"~"+id, "surname_key", id+"-person~"+id, "signed_in", true,
			"mirror", doc(
				"rev", int64(1), "enrolled_in", int64(1), "skipped_in", int64(0), "skipped_opt_out", int64(0), "factor", string(factor),
				"enrolment", "e"+id, "since", since, "locked", false, "opened_at", since,
			),
		))
		insert("policy_svc", "standings", doc(
			"_id", portal+"/"+id, "person", int64(0),
			"factors", doc(string(factor), doc("enrolment", "e"+id, "since", since, "epoch", epoch)),
		))
	}
	authenticator := func(id string, sealed []byte) {
		insert("totp_svc", "authenticators", doc(
			"_id", portal+"/"+id, "person", int64(0), "last_step", int64(0), "guess", guess,
			"active", doc("enrolment", "e"+id, "seed", "s"+id, "secret", wirebson.Binary{B: sealed}, "epoch", epoch, "label", "Bench phone", "since", since),
		))
	}
	person(master.id(), master.hash, contract.Internal, contract.FactorTOTP)
	authenticator(master.id(), master.sealed)
	person(modelApp, modelHash, contract.Internal, contract.FactorTOTP)
	authenticator(modelApp, modelSealed)
	person(modelPhone, modelHash, contract.Organization, contract.FactorSMS)
	insert("sms_dispatcher", "phones", doc(
		"_id", portal+"/"+modelPhone, "epoch", int64(0), "last_call", "", "guess", guess,
		"sends", doc("serial", int64(0), "forgiven", int64(0), "recent", wirebson.MakeArray(0)),
		"active", doc("enrolment", "e"+modelPhone, "ref", "r"+modelPhone, "phone", wirebson.Binary{B: modelSealed}, "last4", modelLast4, "epoch", epoch, "since", since),
	))
	return err
}

// modelOf is the model whose rows are copied for a person.
func modelOf(u user) string {
	if u.phone {
		return modelPhone
	}
	return modelApp
}

// change is what makes one person's rows of a model's.
type change struct {
	user
	hash   string
	sealed []byte
}

// multiply copies the model's row of a collection for everybody whom wanted names, and removes the model's. The store
// keeps a document as JSON text, in the one column of its collection's table.
func multiply(file, name string, changes []change, wanted func(user) bool) error {
	db, err := sql.Open("sqlite", "file:"+file+"?mode=rw")
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // Commit tells
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // of no effect after Commit
	var table string
	if err := tx.QueryRow(`SELECT table_name FROM _ferretdb_collections WHERE name = ?`, name).Scan(&table); err != nil {
		return err
	}
	insert, err := tx.Prepare(`INSERT INTO "` + table + `" (_ferretdb_sjson) VALUES (?)`)
	if err != nil {
		return err
	}
	b64 := base64.StdEncoding.EncodeToString
	models := map[string]string{}
	for _, c := range changes {
		if !wanted(c.user) {
			continue
		}
		model := modelOf(c.user)
		if models[model] == "" {
			var row string
			if err := tx.QueryRow(`SELECT _ferretdb_sjson FROM "`+table+`" WHERE _ferretdb_sjson LIKE ?`, "%"+model+"%").Scan(&row); err != nil {
				return err
			}
			models[model] = row
		}
		if name == "users" && c.n%100 == 7 {
			// One in a hundred is still to enrol, as far as lists know.
			models[model+"bare"] = strings.Replace(models[model], `"enrolled_in":1`, `"enrolled_in":0`, 1)
			model += "bare"
		}
		row := strings.NewReplacer(modelOf(c.user), c.id(), modelHash, c.hash, b64(modelSealed), b64(c.sealed), modelLast4, c.number()[8:]).Replace(models[model])
		if _, err := insert.Exec(row); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM "` + table + `" WHERE _ferretdb_sjson LIKE '%MODEL-%'`); err != nil {
		return err
	}
	return tx.Commit()
}
