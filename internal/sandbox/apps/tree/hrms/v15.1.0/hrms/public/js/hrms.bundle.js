import { announce } from "frappe/public/js/brand";

announce("hrms");
