package store_test

import (
	"context"
	"os"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"sallyport/pkg/contract"
	"sallyport/pkg/store"
)

// On a real MongoDB with access control, each service's user reads and writes its own database, and gets nothing out of
// another's. The embedded store has no users; there the script itself is tried (TestRule19…, in test/attack).
func TestUsersOnMongoDB(t *testing.T) {
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		t.Skip("no MONGODB_URI: the embedded store has no users")
	}
	connect := func(o *options.ClientOptions) *mongo.Client {
		t.Helper()
		c, err := mongo.Connect(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
		return c
	}
	root := connect(options.Client().ApplyURI(uri))
	var status struct {
		AuthInfo struct {
			Users []any `bson:"authenticatedUsers"`
		} `bson:"authInfo"`
	}
	if err := root.Database("admin").RunCommand(t.Context(), bson.D{{Key: "connectionStatus", Value: 1}}).Decode(&status); err != nil || len(status.AuthInfo.Users) == 0 {
		t.Skipf("this MongoDB asks nobody who they are (%v)", err)
	}
	users := store.Users([]contract.Service{contract.TOTP, contract.Policy})
	const password = "a password of a test and no other"
	for _, u := range users {
		roles := bson.A{}
		for _, db := range u.Databases {
			roles = append(roles, bson.D{{Key: "role", Value: "readWrite"}, {Key: "db", Value: "test_" + db}})
		}
		name := "test-" + u.Name
		_ = root.Database("admin").RunCommand(t.Context(), bson.D{{Key: "dropUser", Value: name}}).Err() // of a run that was killed
		if err := root.Database("admin").RunCommand(t.Context(), bson.D{{Key: "createUser", Value: name}, {Key: "pwd", Value: password}, {Key: "roles", Value: roles}}).Err(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Database("admin").RunCommand(context.Background(), bson.D{{Key: "dropUser", Value: name}}).Err() })
	}
	all := users[len(users)-1].Databases
	for _, u := range users {
		may := make(map[string]bool)
		for _, db := range u.Databases {
			may[db] = true
		}
		c := connect(options.Client().ApplyURI(uri).SetAuth(options.Credential{Username: "test-" + u.Name, Password: password, AuthSource: "admin"}))
		for _, db := range append([]string{"other"}, all...) {
			coll := c.Database("test_" + db).Collection("t")
			_, wrote := coll.InsertOne(t.Context(), bson.D{{Key: "by", Value: u.Name}})
			read := coll.FindOne(t.Context(), bson.D{}).Err()
			if (wrote == nil) != may[db] || (read == nil) != may[db] {
				t.Errorf("%s in %s: write %v, read %v; may: %t", u.Name, db, wrote, read, may[db])
			}
		}
	}
	for _, db := range all {
		_ = root.Database("test_" + db).Drop(t.Context())
	}
}
