package github

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/nacl/box"
)

// environment is an environment of a repository.
type environment struct {
	name             string
	created, updated time.Time
	// protected and custom say which branches and tags may reach it: protected
	// branches, or those of policies; neither for all.
	protected, custom bool
	waitTimer         int
	// strict keeps administrators from passing over the rules.
	strict    bool
	policies  []object
	variables map[string]string
	secrets   map[string]string
	// times are when a variable or a secret was made.
	times map[string]time.Time
	// public and private are the key that secrets are sealed for.
	public, private *[32]byte
}

// Environment is what is set in an environment, for tests to look at.
type Environment struct {
	// Policies are "tag site-v*" and the like; All is whether there are none, so that
	// every branch and tag reaches it.
	Policies  []string
	All       bool
	WaitTimer int
	Variables map[string]string
	// Secrets are opened with the environment's own key.
	Secrets map[string]string
}

// Environment returns an environment of a repository, "OWNER/REPO". It is false where
// there is none.
func (s *Server) Environment(repository, name string) (Environment, bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	e, found := s.environments[repository][name]
	if !found {
		return Environment{}, false
	}
	seen := Environment{All: !e.custom && !e.protected, WaitTimer: e.waitTimer, Variables: maps.Clone(e.variables), Secrets: maps.Clone(e.secrets)}
	for _, p := range e.policies {
		seen.Policies = append(seen.Policies, fmt.Sprintf("%s %s", p["type"], p["name"]))
	}
	return seen, true
}

// done is an answer that is not 200 with what was asked for.
type done struct {
	status int
	body   any
}

func (d done) write(w http.ResponseWriter) {
	if d.body == nil {
		w.WriteHeader(d.status)
		return
	}
	reply(w, d.status, d.body)
}

// counted is a list that comes in pages, with how many there are in all.
type counted struct {
	key string
	all []object
}

func (s *Server) isAdmin(r repo, token string) bool {
	return slices.Contains(s.opts.Admins[r.fullName()], token)
}

func (s *Server) environmentRoutes(mux *http.ServeMux) {
	const base = apiPath + "/repos/{owner}/{repo}/environments/{environment}"
	for call, answer := range map[string]func(repo, *environment, *http.Request) (any, error){
		"GET ":                             environmentObject,
		"GET /deployment-branch-policies":  listPolicies,
		"POST /deployment-branch-policies": addPolicy,
		"GET /variables":                   listVariables,
		"POST /variables":                  createVariable,
		"PATCH /variables/{name}":          updateVariable,
		"GET /secrets":                     listSecrets,
		"GET /secrets/public-key":          publicKey,
		"PUT /secrets/{name}":              putSecret,
	} {
		method, path, _ := strings.Cut(call, " ")
		mux.HandleFunc(method+" "+base+path, s.rest(s.inEnvironment(answer)))
	}
	mux.HandleFunc("PUT "+base, s.rest(s.putEnvironment))
}

// inEnvironment finds the environment that a request names, and turns tokens away that
// may not change settings, as GitHub does: what they may not see is not there.
func (s *Server) inEnvironment(answer func(repo, *environment, *http.Request) (any, error)) func(repo, *http.Request) (any, error) {
	return func(r repo, request *http.Request) (any, error) {
		token, _ := s.token(request)
		plain := request.Method == http.MethodGet && strings.HasSuffix(request.Pattern, "/environments/{environment}")
		if !s.isAdmin(r, token) && !plain {
			if token == "" {
				return nil, &failure{http.StatusNotFound, "Not Found"}
			}
			return nil, &failure{http.StatusForbidden, "Resource not accessible by personal access token"}
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		e, found := s.environments[r.fullName()][request.PathValue("environment")]
		if !found {
			return nil, &failure{http.StatusNotFound, "Not Found"}
		}
		return answer(r, e, request)
	}
}

func (s *Server) putEnvironment(r repo, request *http.Request) (any, error) {
	token, _ := s.token(request)
	if !s.isAdmin(r, token) {
		return nil, &failure{http.StatusForbidden, "Resource not accessible by personal access token"}
	}
	var asked struct {
		WaitTimer int `json:"wait_timer"`
		// Bypass is not in GitHub's description, whose answers have it.
		Bypass *bool `json:"can_admins_bypass"`
		Policy *struct {
			Protected bool `json:"protected_branches"`
			Custom    bool `json:"custom_branch_policies"`
		} `json:"deployment_branch_policy"`
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		return nil, &failure{http.StatusBadRequest, "Problems parsing JSON"}
	}
	if asked.Policy != nil && asked.Policy.Protected == asked.Policy.Custom {
		return nil, &failure{http.StatusUnprocessableEntity, "protected_branches and custom_branch_policies cannot have the same value"}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	name, now := request.PathValue("environment"), time.Now()
	e := s.environments[r.fullName()][name]
	if e == nil {
		public, private, err := box.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make key for secrets: %w", err)
		}
		e = &environment{name: name, created: now, variables: map[string]string{}, secrets: map[string]string{}, times: map[string]time.Time{}, public: public, private: private}
		if s.environments == nil {
			s.environments = map[string]map[string]*environment{}
		}
		if s.environments[r.fullName()] == nil {
			s.environments[r.fullName()] = map[string]*environment{}
		}
		s.environments[r.fullName()][name] = e
	}
	// What is left out is reset.
	e.updated, e.waitTimer, e.protected, e.custom = now, asked.WaitTimer, false, false
	e.strict = asked.Bypass != nil && !*asked.Bypass
	if asked.Policy != nil {
		e.protected, e.custom = asked.Policy.Protected, asked.Policy.Custom
	}
	if !e.custom {
		e.policies = nil
	}
	return environmentObject(r, e, request)
}

func environmentObject(r repo, e *environment, _ *http.Request) (any, error) {
	rules := []object{}
	rule := func(kind string, more object) {
		one := object{"id": number(r.fullName() + e.name + kind), "node_id": nodeID("Gate", r.fullName(), e.name, kind), "type": kind}
		maps.Copy(one, more)
		rules = append(rules, one)
	}
	if e.waitTimer > 0 {
		rule("wait_timer", object{"wait_timer": e.waitTimer})
	}
	var policy any
	if e.custom || e.protected {
		rule("branch_policy", nil)
		policy = object{"protected_branches": e.protected, "custom_branch_policies": e.custom}
	}
	return object{
		"id": number(r.fullName() + e.name), "node_id": nodeID("Environment", r.fullName(), e.name), "name": e.name,
		"url":        r.apiURL() + "/environments/" + escapePath(e.name),
		"html_url":   r.htmlURL() + "/deployments/activity_log?environments_filter=" + escapePath(e.name),
		"created_at": e.created.UTC().Format(time.RFC3339), "updated_at": e.updated.UTC().Format(time.RFC3339),
		"protection_rules": rules, "deployment_branch_policy": policy, "can_admins_bypass": !e.strict,
	}, nil
}

func listPolicies(_ repo, e *environment, _ *http.Request) (any, error) {
	return counted{"branch_policies", e.policies}, nil
}

func addPolicy(r repo, e *environment, request *http.Request) (any, error) {
	var asked struct{ Name, Type string }
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil || asked.Name == "" {
		return nil, &failure{http.StatusBadRequest, "Problems parsing JSON"}
	}
	if !e.custom {
		return nil, &failure{http.StatusNotFound, "Not Found"}
	}
	if asked.Type == "" {
		asked.Type = "branch"
	}
	one := object{"id": number(r.fullName() + e.name + asked.Type + asked.Name), "node_id": nodeID("GateBranchPolicy", asked.Type, asked.Name), "name": asked.Name, "type": asked.Type}
	e.policies = append(e.policies, one)
	return one, nil
}

func (e *environment) timesOf(kind, name string) object {
	at := e.times[kind+name].UTC().Format(time.RFC3339)
	return object{"name": name, "created_at": at, "updated_at": at}
}

func listVariables(_ repo, e *environment, _ *http.Request) (any, error) {
	list := []object{}
	for _, name := range slices.Sorted(maps.Keys(e.variables)) {
		one := e.timesOf("variable ", name)
		one["value"] = e.variables[name]
		list = append(list, one)
	}
	return counted{"variables", list}, nil
}

// settingName is GitHub's rule for names of variables and secrets.
var settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func allowed(name string) error {
	if !settingName.MatchString(name) || strings.HasPrefix(strings.ToUpper(name), "GITHUB_") {
		return &failure{http.StatusUnprocessableEntity, "The name is invalid"}
	}
	return nil
}

func createVariable(_ repo, e *environment, request *http.Request) (any, error) {
	var asked struct{ Name, Value string }
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		return nil, &failure{http.StatusBadRequest, "Problems parsing JSON"}
	}
	if err := allowed(asked.Name); err != nil {
		return nil, err
	}
	if _, there := e.variables[asked.Name]; there {
		return nil, &failure{http.StatusConflict, "Variable already exists"}
	}
	e.variables[asked.Name], e.times["variable "+asked.Name] = asked.Value, time.Now()
	return done{http.StatusCreated, object{}}, nil
}

func updateVariable(_ repo, e *environment, request *http.Request) (any, error) {
	var asked struct{ Value string }
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		return nil, &failure{http.StatusBadRequest, "Problems parsing JSON"}
	}
	name := request.PathValue("name")
	if _, there := e.variables[name]; !there {
		return nil, &failure{http.StatusNotFound, "Not Found"}
	}
	e.variables[name] = asked.Value
	return done{http.StatusNoContent, nil}, nil
}

func listSecrets(_ repo, e *environment, _ *http.Request) (any, error) {
	list := []object{}
	for _, name := range slices.Sorted(maps.Keys(e.secrets)) {
		list = append(list, e.timesOf("secret ", name))
	}
	return counted{"secrets", list}, nil
}

func (e *environment) keyID() string { return base64.RawURLEncoding.EncodeToString(e.public[:9]) }

func publicKey(_ repo, e *environment, _ *http.Request) (any, error) {
	return object{"key_id": e.keyID(), "key": base64.StdEncoding.EncodeToString(e.public[:])}, nil
}

func putSecret(_ repo, e *environment, request *http.Request) (any, error) {
	var asked struct {
		Value string `json:"encrypted_value"`
		Key   string `json:"key_id"`
	}
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		return nil, &failure{http.StatusBadRequest, "Problems parsing JSON"}
	}
	name := request.PathValue("name")
	if err := allowed(name); err != nil {
		return nil, err
	}
	text, err := e.open(asked.Key, asked.Value)
	if err != nil {
		return nil, &failure{http.StatusUnprocessableEntity, "Bad request - " + err.Error()}
	}
	_, again := e.secrets[name]
	e.secrets[name] = text
	if again {
		return done{http.StatusNoContent, nil}, nil
	}
	e.times["secret "+name] = time.Now()
	return done{http.StatusCreated, object{}}, nil
}

// open opens what was sealed for the environment.
func (e *environment) open(key, sealed string) (string, error) {
	if key != e.keyID() {
		return "", errors.New("key_id is not that of the environment's key")
	}
	data, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		return "", errors.New("encrypted_value is not Base64")
	}
	text, ok := box.OpenAnonymous(nil, data, e.public, e.private)
	if !ok {
		return "", errors.New("encrypted_value is not sealed for the environment's key")
	}
	return string(text), nil
}
