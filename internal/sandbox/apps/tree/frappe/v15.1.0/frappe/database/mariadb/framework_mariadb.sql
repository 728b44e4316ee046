-- The tables that must exist before any DocType can.
CREATE TABLE `tabDocType` (
  `name` varchar(140) NOT NULL PRIMARY KEY,
  `creation` datetime(6), `modified` datetime(6), `owner` varchar(140),
  `module` varchar(140), `app` varchar(140), `issingle` int(1) NOT NULL DEFAULT 0,
  `migration_hash` varchar(140)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE `tabDefaultValue` (
  `name` varchar(140) NOT NULL PRIMARY KEY,
  `creation` datetime(6), `modified` datetime(6), `owner` varchar(140),
  `parent` varchar(140), `defkey` varchar(140), `defvalue` text,
  KEY `defkey` (`defkey`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE `tabSingles` (
  `doctype` varchar(255), `field` varchar(255), `value` longtext,
  KEY `singles` (`doctype`, `field`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE `__Auth` (
  `doctype` varchar(140) NOT NULL, `name` varchar(255) NOT NULL, `fieldname` varchar(140) NOT NULL,
  `password` text NOT NULL, `encrypted` int(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (`doctype`, `name`, `fieldname`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
