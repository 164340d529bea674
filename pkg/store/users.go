package store

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"sallyport/pkg/contract"
)

// User is who connects to MongoDB, and the databases that they may read and write. Nobody has anything else there.
type User struct {
	Name      string
	Databases []string
}

// Database is the name of a service's own database, where nobody says otherwise.
func Database(s contract.Service) string {
	return "sallyport_" + strings.ReplaceAll(string(s), "-", "_")
}

// Users are one for each service, which has its own database, and the operator's, who has all of them.
func Users(services []contract.Service) []User {
	operator := User{Name: "sallyport-operator"}
	var out []User
	for _, s := range services {
		out = append(out, User{"sallyport-" + string(s), []string{Database(s)}})
		operator.Databases = append(operator.Databases, Database(s))
	}
	return append(out, operator)
}

//go:embed users.js
var usersScript string

// Script makes these users, for mongosh. It holds no password: it reads them from files.
func Script(users []User) (string, error) {
	type role struct {
		Role string `json:"role"`
		DB   string `json:"db"`
	}
	lines := make([]string, 0, len(users))
	for _, u := range users {
		roles := make([]role, 0, len(u.Databases))
		for _, db := range u.Databases {
			roles = append(roles, role{"readWrite", db})
		}
		raw, err := json.Marshal(struct {
			User  string `json:"user"`
			Roles []role `json:"roles"`
		}{u.Name, roles})
		if err != nil {
			return "", fmt.Errorf("users of MongoDB: %w", err)
		}
		lines = append(lines, "  "+string(raw)+",")
	}
	return strings.Replace(usersScript, "  /* users */", strings.Join(lines, "\n"), 1), nil
}
