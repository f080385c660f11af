-- Git in a pod asks for its token when it needs it: none is made ahead, and no pod is due for a new one. What is left for servers
-- of the former release, pods.git_expires_at and pods.git_tried_at, nothing reads any more: the next release drops them.
DROP INDEX pods_git_expires;
