// Calls by process and call id.
#include "scan.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS (4 * GROUP_LIMIT)

void groups_init(struct task *task, struct call_groups *groups)
{
	memset(groups, 0, sizeof *groups);
	groups->groups = malloc(GROUP_LIMIT * sizeof *groups->groups);
	groups->slots = calloc(SLOTS, sizeof *groups->slots);
	if (groups->groups == NULL || groups->slots == NULL) {
		groups_free(groups);
		give_up(task, "no memory");
	}
}

void groups_free(struct call_groups *groups)
{
	free(groups->groups);
	free(groups->slots);
}

static struct call_group *group_of(struct task *task, struct call_groups *groups, uint32_t pid, uint32_t call_id)
{
	uint64_t key = (uint64_t)pid << 32 | call_id;
	uint32_t slot = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 40) % SLOTS;
	for (; groups->slots[slot] != 0; slot = (slot + 1) % SLOTS) {
		struct call_group *known = &groups->groups[groups->slots[slot] - 1];
		if (known->pid == pid && known->call_id == call_id) {
			return known;
		}
	}
	if (groups->count == GROUP_LIMIT) {
		give_up(task, "more processes and call ids than are kept");
	}
	struct call_group *made = &groups->groups[groups->count++];
	groups->slots[slot] = (uint16_t)groups->count;
	*made = (struct call_group){ .pid = pid, .call_id = call_id };
	return made;
}

void groups_add(struct task *task, struct call_groups *groups, const struct call_line *line, uint64_t at)
{
	groups->debug_lines++;
	groups->debug_bytes += line->length;
	if (line->kind != LINE_INVOKED) {
		return;
	}
	struct call_group *group = group_of(task, groups, line->pid, line->call_id);
	if (group->count == 0) {
		group->first = at;
	}
	group->last = at;
	group->count++;
	group->bytes += line->data_length;
}

void groups_put(struct task *task, const struct call_groups *groups)
{
	for (uint32_t index = 0; index < groups->count; index++) {
		const struct call_group *group = &groups->groups[index];
		record_begin(task, 'G');
		put_u32(task, group->pid);
		put_u32(task, group->call_id);
		put_u64(task, group->count);
		put_u64(task, group->bytes);
		put_u64(task, group->first);
		put_u64(task, group->last);
		record_end(task);
	}
}
